"""`rebuild_counters [--tenant SLUG]`: what limits have counted, anew from ledger and spool."""

from typing import Any

from django.core.management.base import CommandParser

from substrate.commands import AtriumCommand
from tenants.services import find_tenant, limited_tenants, order_recount


class Command(AtriumCommand):
    """Have the counters told anew what was used."""

    help = (
        "Rebuild the counters of days and months from the usage ledger and the spool: of one tenant, or of all that "
        "have limits. Running servers do it at each caller's next call. Rates refill by themselves within a minute."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        """`--tenant`."""
        parser.add_argument("--tenant", metavar="SLUG", help="this tenant alone")

    def act(self, **options: Any) -> dict[str, Any]:
        """Order it."""
        slug: str | None = options["tenant"]
        ids = [find_tenant(slug=slug).id] if slug else sorted(limited_tenants())
        for tenant_id in ids:
            order_recount(tenant_id=tenant_id)
        return {"tenants": len(ids)}

    def say(self, outcome: dict[str, Any]) -> str:
        """One line."""
        return f"The counters of {outcome['tenants']} tenants are told anew with their next calls."
