"""The admin site at `/admin/`: the platform's operators alone enter, by the same login page as everybody."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from unfold.sites import UnfoldAdminSite

from substrate.jobs import count_jobs
from tenants.services import only_tenant, summarise_platform

# Apps in the order an operator looks for them; others follow.
ORDER = ("tenants", "inference", "routing", "knowledge", "assistants", "substrate")
NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the index page, with what it counts and a remark below it."""

    title: str
    value: str
    remark: str
    href: str


class AtriumAdminSite(UnfoldAdminSite):
    """Unfold's site without a login of its own, and with the installation's figures on its index."""

    index_title = "Overview"

    def has_permission(self, request: HttpRequest) -> bool:
        """Active operators, by a session that is not confined to one tenant."""
        user = request.user
        operates = bool(user.is_active and getattr(user, "is_operator", False))
        return operates and only_tenant(request.session) is None

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Send strangers to the common login page; people who are no operators are told so."""
        if request.user.is_authenticated and not self.has_permission(request):
            return HttpResponseForbidden(
                "The back-office is for platform operators.", content_type="text/plain"
            )
        return redirect_to_login(request.GET.get("next") or request.get_full_path())

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The overview: figures of the last 24 hours above the list of pages."""
        return super().index(request, {"figures": figures(), **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The apps in an operator's order."""
        found = super().get_app_list(request, app_label)
        return sorted(found, key=lambda app: _place(app["app_label"]))


def figures() -> list[Figure]:
    """What the index shows."""
    summary = summarise_platform()
    jobs = count_jobs()
    waiting, failed = jobs.get("queued", 0) + jobs.get("running", 0), jobs.get("failed", 0)
    return [
        Figure(
            "Tenants",
            f"{summary.tenants:,}",
            f"{summary.suspended_tenants:,} suspended",
            "admin:tenants_tenant_changelist",
        ),
        Figure(
            "Users",
            f"{summary.users:,}",
            f"{summary.valid_keys:,} valid API keys",
            "admin:tenants_user_changelist",
        ),
        Figure(
            "Requests, 24 h",
            f"{summary.requests:,}",
            f"{summary.failed_requests:,} failed",
            "admin:tenants_usagerecord_changelist",
        ),
        Figure(
            "Tokens, 24 h",
            f"{summary.tokens:,}",
            f"cost {summary.cost_nano / NANO:,.2f}",
            "admin:tenants_usagerecord_changelist",
        ),
        Figure("Jobs at work", f"{waiting:,}", f"{failed:,} failed", "admin:substrate_job_changelist"),
    ]


def _place(app_label: str) -> int:
    return ORDER.index(app_label) if app_label in ORDER else len(ORDER)
