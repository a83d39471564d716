"""`create_tenant SLUG --name N [--priority-class C] [--weight W] [--timezone Z] [--region R]`."""

from typing import Any

from django.core.management.base import CommandParser

from substrate.commands import AtriumCommand
from tenants.services import create_tenant
from tenants.types import PriorityClass


class Command(AtriumCommand):
    """Make a tenant."""

    help = "Create a tenant. --priority-class caps how urgent its requests may be."

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Slug, name, cap, weight, calendar and region."""
        parser.add_argument("slug", help="small letters, digits and hyphens")
        parser.add_argument("--name", required=True)
        parser.add_argument("--priority-class", choices=[each.value for each in PriorityClass])
        parser.add_argument("--weight", type=int, default=1, help="share of a contended pool, 1-1000")
        parser.add_argument("--timezone", default="UTC", help="days and months of limits begin by it")
        parser.add_argument(
            "--region", default="", help="engines elsewhere never see its content; default: any may"
        )

    def act(self, **options: Any) -> dict[str, Any]:
        """Create it."""
        chosen = options["priority_class"]
        tenant = create_tenant(
            slug=options["slug"],
            name=options["name"],
            priority_class=PriorityClass(chosen) if chosen else None,
            weight=options["weight"],
            timezone=options["timezone"],
            region=options["region"],
        )
        return {
            "id": str(tenant.id),
            "slug": tenant.slug,
            "name": tenant.name,
            "priority_class": tenant.priority_class.value,
            "weight": tenant.weight,
            "timezone": tenant.timezone,
            "region": tenant.region,
        }

    def say(self, outcome: dict[str, Any]) -> str:
        """One line."""
        return f"Tenant {outcome['slug']} is created."
