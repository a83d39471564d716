"""Limits of what a tenant may keep: checked before anything is stored, and once more when it is written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kernel.backends import backends
from kernel.errors import QuotaExhausted
from substrate.scoping import tenant_scope
from tenants.limit_types import Level, Measure
from tenants.models import Quota
from tenants.ports import Stock
from tenants.types import Principal

STOCKS = tuple(measure for measure in Measure if measure.is_stock)
_TOLD = {
    Measure.STORAGE_BYTES: "This tenant may keep {limit:,} bytes of documents, and keeps {used:,}.",
    Measure.DOCUMENTS: "This tenant may keep {limit:,} documents, and keeps {used:,}.",
}


def stocks_used() -> Mapping[Measure, int]:
    """How much there is of each; in the scope of the tenant."""
    stock: Stock = backends["stock"]
    return stock.used()


def require_room(*, principal: Principal, added: Mapping[Measure, int]) -> None:
    """Return when the tenant may keep so much more. Costs one look where nothing is limited. Raises QuotaExhausted."""
    with tenant_scope(principal.tenant_id, read_only=True):
        limits = _limits()
        if limits:
            used = stocks_used()
            for measure, limit in limits.items():
                if added.get(measure, 0) > 0 and used[measure] + added[measure] > limit:
                    raise _refusal(measure, limit, used[measure])


@contextmanager
def within_limits() -> Iterator[None]:
    """Around what is written, in the scope and transaction at hand: what grows a stock beyond its limit is refused.

    Two who write at the same time do it one after the other, where there is a limit. Raises QuotaExhausted; the
    transaction must end with it.
    """
    limits = _limits(lock=True)
    before = stocks_used() if limits else {}
    yield
    if limits:
        after = stocks_used()
        for measure, limit in limits.items():
            if after[measure] > limit and after[measure] > before[measure]:
                raise _refusal(measure, limit, before[measure])


def _limits(*, lock: bool = False) -> dict[Measure, int]:
    rows = Quota.objects.filter(level=Level.TENANT, measure__in=STOCKS, hard__isnull=False)
    if lock:
        rows = rows.select_for_update()
    return {Measure(row.measure): row.hard for row in rows.order_by("id") if row.hard is not None}


def _refusal(measure: Measure, limit: int, used: int) -> QuotaExhausted:
    return QuotaExhausted(_TOLD[measure].format(limit=limit, used=used))
