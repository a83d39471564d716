"""What the admin pages of all apps share: read-only unless said otherwise, and writes that go through services.

`admin.py` of each app registers its models with these classes. A request to `/admin/` runs in a system scope (see
`console.middleware`), so rows of all tenants are seen; content is shown as metadata only.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

from kernel.errors import AtriumError


class ReadOnlyAdmin(ModelAdmin):
    """Rows to look at: search and filters, no writes."""

    list_per_page = 50
    # Counting all rows of a big table on each page would cost more than the page.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes."""
        return False


class ServiceAdmin(ModelAdmin):
    """Rows that are written by services: subclasses define `save_by_service`, and `delete_by_service` if they may.

    What a service refuses is shown as a message, and nothing is written.
    """

    list_per_page = 50
    show_full_result_count = False
    deletable = False

    def save_by_service(self, request: HttpRequest, row: Any, form: Any, *, change: bool) -> None:
        """Call the service. `row` holds the form's values; a new row must get the id the service gave. Raises AtriumError."""
        raise NotImplementedError

    def delete_by_service(self, request: HttpRequest, row: Any) -> None:
        """Call the service that deletes `row`. Raises AtriumError."""
        raise NotImplementedError

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Where the subclass says so."""
        return self.deletable and bool(super().has_delete_permission(request, obj))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Django's hook: nothing is saved here, the service does it."""
        self.save_by_service(request, obj, form, change=change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Django's hook: the service deletes."""
        self.delete_by_service(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        """Django's hook for the action on many rows."""
        for row in queryset:
            self.delete_by_service(request, row)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The form; what the service refuses becomes a message."""
        return _told(
            self, request, lambda: super(ServiceAdmin, self).changeform_view(request, *args, **kwargs)
        )

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The question and the deletion; what the service refuses becomes a message."""
        return _told(self, request, lambda: super(ServiceAdmin, self).delete_view(request, *args, **kwargs))

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The list and its actions; what a service refuses becomes a message."""
        return _told(
            self, request, lambda: super(ServiceAdmin, self).changelist_view(request, *args, **kwargs)
        )


def _told(admin: Any, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    try:
        return view()
    except AtriumError as error:
        admin.message_user(request, error.message, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())
