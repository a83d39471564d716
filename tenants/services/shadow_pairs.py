"""Use cases around calls that were copied: both answers' figures go through the spool, and are deleted after their time."""

from collections.abc import Sequence
from datetime import timedelta

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.crossing import system_scope
from tenants.ledger import clean_number, clean_text
from tenants.models import ShadowPair
from tenants.ports import UsageSpool
from tenants.services.storing import delete_rows, store_rows
from tenants.shadow_types import PairEntry

KEEP_PAIRS = timedelta(days=30)


async def record_pair(entry: PairEntry) -> None:
    """Put a comparison where it outlives this process. Raises Unavailable."""
    spool: UsageSpool = backends["usage_spool"]
    await spool.append(entry)


def store_pairs(entries: Sequence[PairEntry]) -> None:
    """Write comparisons; one that is there already stays as it is. Those of tenants that are gone are dropped."""
    store_rows(entries, ShadowPair, _row)


def _row(entry: PairEntry) -> ShadowPair:
    sides = {
        f"{name}_{figure}": clean_number(getattr(side, figure))
        for name, side in (("answered", entry.answered), ("copied", entry.copied))
        for figure in ("first_ms", "total_ms", "prompt_tokens", "completion_tokens", "cost_nano")
    }
    return ShadowPair(
        id=entry.record_id,
        tenant_id=entry.tenant_id,
        model=clean_text(entry.model, 255),
        shadow=clean_text(entry.shadow, 255),
        state=entry.state.value,
        error=clean_text(entry.error, 500),
        stream=entry.stream,
        started_at=entry.started_at,
        answered_finish=clean_text(entry.answered.finish_reason, 64),
        copied_finish=clean_text(entry.copied.finish_reason, 64),
        agreement=entry.agreement,
        same=entry.same,
        **sides,
    )


def forget_old_pairs(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete comparisons that were kept for their whole time; returns how many."""
    before = clock.now() - KEEP_PAIRS
    return delete_rows(
        lambda: ShadowPair.objects.filter(started_at__lt=before),
        lambda: system_scope("delete old comparisons"),
    )
