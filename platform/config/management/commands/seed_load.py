"""`seed_load`: fills an installation with made-up tenants, documents and usage, to see how quick its pages stay."""

import time
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from knowledge.services import seed_documents
from substrate.commands import AtriumCommand
from substrate.seed_jobs import seed_jobs
from substrate.seeding import ending_by_signal, heal_indexes, roomy_cache
from tenants.services import has_other_tenants, seed_tenants, seed_usage

WITH_JOBS, JOBS_EACH = 100, 200


class Command(AtriumCommand):
    """Made-up load."""

    help = (
        "Fill the database with made-up tenants (load-00001, the largest, to load-10000), documents and usage, the "
        "same for the same seed. For trials of speed, never beside data that matters."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        """How much of what."""
        parser.add_argument("--tenants", type=int, default=10_000)
        parser.add_argument("--documents", type=int, default=100_000)
        parser.add_argument("--usage", type=int, default=10_000_000, help="calls in the ledger, about")
        parser.add_argument("--days", type=int, default=30, help="over which the calls are spread")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument(
            "--yes", action="store_true", help="also where there are tenants beside the demo's"
        )

    def act(self, **options: Any) -> dict[str, Any]:
        """Write it, saying how far it is; interrupted, it leaves every index in its place."""
        with ending_by_signal():
            if healed := heal_indexes():
                self._tell(f"indexes that an earlier run had left out: {len(healed)}")
            try:
                return self._seed(**options)
            except KeyboardInterrupt:
                raise CommandError("It was interrupted: what it wrote so far stays.") from None

    def _seed(self, **options: Any) -> dict[str, Any]:
        amounts = {name: options[name] for name in ("tenants", "documents", "usage", "days")}
        if min(amounts.values()) < 0 or min(amounts["tenants"], amounts["days"]) < 1:
            raise CommandError("Give numbers above zero.")
        if has_other_tenants() and not options["yes"]:
            raise CommandError(
                "There are tenants beside the demo's: made-up rows would stand among theirs. Say --yes if you mean it."
            )
        begun, seed, now = time.monotonic(), options["seed"], datetime.now(UTC)
        roomy_cache()
        tenants = seed_tenants(count=amounts["tenants"], seed=seed, now=now)
        self._tell(f"tenants: {len(tenants.ids):,}, callers: {len(tenants.callers):,}")
        documents = seed_documents(
            tenants=tenants.ids, count=amounts["documents"], seed=seed, now=now, told=self._tell
        )
        jobs = seed_jobs(tenants=tenants.ids[:WITH_JOBS], each=JOBS_EACH, seed=seed, now=now)
        usage = seed_usage(
            tenants=tenants, count=amounts["usage"], days=amounts["days"], seed=seed, now=now, told=self._tell
        )
        return {
            "tenants": len(tenants.ids),
            "documents": documents,
            "jobs": jobs,
            "usage": usage,
            "seconds": round(time.monotonic() - begun, 1),
        }

    def _tell(self, step: str) -> None:
        self.stderr.write(step)
