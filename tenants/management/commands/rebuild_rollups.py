"""`rebuild_rollups [--check]`: sums of usage made again from the ledger, or compared with it."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from substrate.commands import AtriumCommand
from tenants.services import check_rollups, rebuild_rollups
from tenants.types import RollupDrift

SHOWN = 20


class Command(AtriumCommand):
    """Rollups from the ledger."""

    help = (
        "Make the hourly and daily sums of usage again from the ledger, a tenant's days at a time, while serving; "
        "with --check only tell where they differ from it."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        """`--check`."""
        parser.add_argument(
            "--check", action="store_true", help="compare, change nothing; fails when they differ"
        )

    def act(self, **options: Any) -> dict[str, Any]:
        """Rebuild, or compare. Raises CommandError when the comparison finds a difference."""
        if not options["check"]:
            return {"calls": rebuild_rollups(told=self.stderr.write)}
        drift = check_rollups()
        if drift:
            lines = "; ".join(_line(each) for each in drift[:SHOWN])
            raise CommandError(f"{len(drift)} sums differ from the ledger: {lines}. Run rebuild_rollups.")
        return {"drift": 0}


def _line(drift: RollupDrift) -> str:
    of = f" of {drift.tenant}" if drift.tenant else ""
    return f"{drift.kind}{of} {drift.start:%Y-%m-%d %H:%M} has {drift.rollup}, the ledger {drift.ledger}"
