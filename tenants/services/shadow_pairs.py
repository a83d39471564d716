"""Use cases around calls that were copied: both answers' figures go through the spool, and are deleted after their time."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.ledger import clean_number, clean_text
from tenants.models import ShadowPair
from tenants.permissions import require
from tenants.ports import UsageSpool
from tenants.services.storing import delete_rows, store_rows
from tenants.types import PairEntry, PairSide, PairState, Principal

KEEP_PAIRS = timedelta(days=30)
_FIGURES = ("first_ms", "total_ms", "prompt_tokens", "completion_tokens", "cost_nano")


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
        for figure in _FIGURES
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


def list_pairs(*, principal: Principal, since: datetime, limit: int) -> list[PairEntry]:
    """The newest `limit` comparisons of the caller's tenant of calls since then. Raises PermissionDenied."""
    require(principal, "requests.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = ShadowPair.objects.filter(started_at__gte=since).order_by("-started_at")
        return [_entry(row) for row in rows[:limit]]


def _entry(row: ShadowPair) -> PairEntry:
    answered, copied = (
        PairSide(**{figure: getattr(row, f"{name}_{figure}") for figure in _FIGURES}, finish_reason=finish)
        for name, finish in (("answered", row.answered_finish), ("copied", row.copied_finish))
    )
    return PairEntry(
        record_id=row.id,
        tenant_id=row.tenant_id,
        started_at=row.started_at,
        model=row.model,
        shadow=row.shadow,
        state=PairState(row.state),
        error=row.error,
        stream=row.stream,
        answered=answered,
        copied=copied,
        agreement=row.agreement,
        same=row.same,
    )


def forget_old_pairs(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete comparisons that were kept for their whole time; returns how many."""
    before = clock.now() - KEEP_PAIRS
    return delete_rows(
        lambda: ShadowPair.objects.filter(started_at__lt=before),
        lambda: system_scope("delete old comparisons"),
    )
