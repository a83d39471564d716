"""`set_quota --tenant SLUG [--requests-per-minute N] [--tokens-per-minute N] [--max-concurrency N] [--monthly-budget MONEY] …`."""

from typing import Any

from django.core.management.base import CommandParser

from kernel.errors import BadInput
from substrate.commands import AtriumCommand
from tenants.limit_types import Measure
from tenants.services import find_tenant, set_tenant_limits
from tenants.services.quotas import parse_money

UNLIMITED = "unlimited"
_OPTIONS = {
    "requests_per_minute": Measure.REQUESTS_PER_MINUTE,
    "tokens_per_minute": Measure.TOKENS_PER_MINUTE,
    "max_concurrency": Measure.CONCURRENCY,
    "tokens_per_day": Measure.TOKENS_PER_DAY,
    "tokens_per_month": Measure.TOKENS_PER_MONTH,
    "daily_budget": Measure.MONEY_PER_DAY,
    "monthly_budget": Measure.MONEY_PER_MONTH,
    "storage_bytes": Measure.STORAGE_BYTES,
    "documents": Measure.DOCUMENTS,
}


class Command(AtriumCommand):
    """Set limits of a tenant."""

    help = (
        "Set limits of a whole tenant; what is not named stays as it is. "
        f"`{UNLIMITED}` takes a limit away. In effect within two seconds."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        """The tenant and its limits."""
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        for name, measure in _OPTIONS.items():
            metavar = "MONEY" if measure.is_money else "N"
            parser.add_argument(f"--{name.replace('_', '-')}", metavar=metavar)
        parser.add_argument("--warn-at", type=int, metavar="PERCENT", help="warn at this share of each limit")

    def act(self, **options: Any) -> dict[str, Any]:
        """Set them."""
        limits = {
            measure: _amount(measure, options[name], f"--{name.replace('_', '-')}")
            for name, measure in _OPTIONS.items()
            if options[name] is not None
        }
        percent: int | None = options["warn_at"]
        if not limits:
            raise BadInput("Name at least one limit, as --requests-per-minute 600.")
        if percent is not None and not 1 <= percent <= 100:
            raise BadInput("--warn-at is a percentage from 1 to 100.")
        tenant = find_tenant(slug=options["tenant"])
        views = set_tenant_limits(tenant_id=tenant.id, limits=limits, warn_percent=percent)
        return {
            "tenant": tenant.slug,
            "limits": {each.measure.value: {"hard": each.hard, "soft": each.soft} for each in views},
        }

    def say(self, outcome: dict[str, Any]) -> str:
        """One line for each limit in force."""
        lines = [
            f"  {measure}: {amounts['hard']}" + (f" (warns at {amounts['soft']})" if amounts["soft"] else "")
            for measure, amounts in outcome["limits"].items()
        ]
        return "\n".join([f"Limits of {outcome['tenant']}:", *(lines or ["  none"])])


def _amount(measure: Measure, text: str, option: str) -> int | None:
    if text == UNLIMITED:
        return None
    if measure.is_money:
        return parse_money(text, param=option)
    try:
        return int(text)
    except ValueError as error:
        raise BadInput(f"{option} is a whole number, or `{UNLIMITED}`.", param=option) from error
