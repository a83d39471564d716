"""Back-office pages of the substrate."""

from django.contrib import admin
from unfold.decorators import display

from substrate.back_office import ReadOnlyAdmin
from substrate.models import Job


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Background work: what is queued, what failed and why."""

    list_display = ("created_at", "kind", "tenant", "shown_state", "attempts", "run_after", "short_error")
    list_filter = ("state", "kind")
    search_fields = ("kind", "tenant__slug", "request_id", "trace_id")
    list_select_related = ("tenant",)
    ordering = ("-created_at",)
    exclude = ("payload",)

    @display(
        description="State",
        label={"queued": "info", "running": "warning", "done": "success", "failed": "danger"},
    )
    def shown_state(self, row: Job) -> str:
        """The state as a badge."""
        return row.state

    @display(description="Error")
    def short_error(self, row: Job) -> str:
        """The beginning of the reason."""
        return row.error[:80]
