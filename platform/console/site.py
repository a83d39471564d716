"""The admin site at `/admin/`: the platform's operators alone enter, by the same login page as everybody."""

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from unfold.sites import UnfoldAdminSite


class AtriumAdminSite(UnfoldAdminSite):
    """Unfold's site without a login of its own."""

    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Active operators."""
        user = request.user
        return bool(user.is_active and getattr(user, "is_operator", False))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send strangers to the common login page; people who are no operators are told so."""
        if request.user.is_authenticated:
            return HttpResponseForbidden(
                "The back-office is for platform operators.", content_type="text/plain"
            )
        return redirect_to_login(request.GET.get("next") or request.get_full_path())
