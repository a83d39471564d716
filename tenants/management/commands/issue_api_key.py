"""`issue_api_key --tenant SLUG [--name N] [--role R]`."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser

from substrate.commands import AtriumCommand
from tenants.services import find_tenant, issue_api_key
from tenants.types import PriorityClass, Role


class Command(AtriumCommand):
    """Make an API key."""

    help = "Issue an API key. Its text is printed once and kept nowhere."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Tenant, name, role, cap, expiry."""
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--name", default="issued by command")
        parser.add_argument("--role", default=Role.MEMBER.value, choices=[each.value for each in Role])
        parser.add_argument("--priority-class", choices=[each.value for each in PriorityClass], help="cap")
        parser.add_argument("--days", type=int, help="days until it expires; default: never")

    def act(self, **options: Any) -> dict[str, Any]:
        """Issue it."""
        tenant = find_tenant(slug=options["tenant"])
        days = options["days"]
        issued = issue_api_key(
            tenant_id=tenant.id,
            name=options["name"],
            role=options["role"],
            priority_class=PriorityClass(options["priority_class"] or PriorityClass.CRITICAL),
            expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
        )
        return {"prefix": issued.prefix, "key": issued.key}

    def say(self, outcome: dict[str, Any]) -> str:
        """The key, once."""
        return f"{outcome['key']}\nThis is the only time it is shown. Revoke it by: revoke_api_key {outcome['prefix']}"
