"""Limits of what is kept: of the tenant, of its groups, of its users. Checked before anything is stored, and once more
when it is written.

What is kept counts for the tenant, for the user who handed it in, and for the groups that this user is in now: who
leaves a group takes theirs along. It is counted where it lies each time, so no counter can differ from it.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from kernel.backends import backends
from kernel.errors import QuotaExhausted
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.access_reads import groups_of_users, users_of_groups
from tenants.limit_types import Level, Limit, Measure, TenantLimits
from tenants.models import Quota
from tenants.ports import Stock
from tenants.services.limits import rules_by_level
from tenants.types import Principal

STOCKS = tuple(measure for measure in Measure if measure.is_stock)
LEVELS = (Level.TENANT, Level.GROUP, Level.USER)
_TOLD: Mapping[tuple[Level, Measure], str] = {
    (
        Level.TENANT,
        Measure.STORAGE_BYTES,
    ): "This tenant may keep {limit:,} bytes of documents, and keeps {used:,}.",
    (Level.TENANT, Measure.DOCUMENTS): "This tenant may keep {limit:,} documents, and keeps {used:,}.",
    (Level.GROUP, Measure.STORAGE_BYTES): (
        "A group that this user is in may keep {limit:,} bytes of documents, and keeps {used:,}."
    ),
    (Level.GROUP, Measure.DOCUMENTS): (
        "A group that this user is in may keep {limit:,} documents, and keeps {used:,}."
    ),
    (
        Level.USER,
        Measure.STORAGE_BYTES,
    ): "This user may keep {limit:,} bytes of documents, and keeps {used:,}.",
    (Level.USER, Measure.DOCUMENTS): "This user may keep {limit:,} documents, and keeps {used:,}.",
}

Users = Collection[uuid.UUID | None]


def stocks_of_tenants(tenants: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Mapping[Measure, int]]:
    """How much each of these tenants keeps as a whole, in one query. Opens a system scope."""
    stock: Stock = backends["stock"]
    with system_scope("look at what tenants keep", read_only=True):
        return {tenant: {} for tenant in tenants} | dict(stock.used_of(tenants))


def stocks_used(rules: Iterable[Limit]) -> dict[Limit, int]:
    """How much is kept against each of these rules of stocks, of somebody in particular; in the scope of the tenant."""
    wanted = list(rules)
    stock: Stock = backends["stock"]
    whole = stock.used() if any(rule.level is Level.TENANT for rule in wanted) else {}
    inside = users_of_groups({uuid.UUID(rule.subject) for rule in wanted if rule.level is Level.GROUP})
    users = {uuid.UUID(rule.subject) for rule in wanted if rule.level is Level.USER}.union(*inside.values())
    by_user = stock.used_by(users) if users else {}

    def used(rule: Limit) -> int:
        if rule.level is Level.TENANT:
            return whole.get(rule.measure, 0)
        whose = inside.get(rule.subject, ()) if rule.level is Level.GROUP else (uuid.UUID(rule.subject),)
        return sum(by_user[each].get(rule.measure, 0) for each in whose if each in by_user)

    return {rule: used(rule) for rule in wanted}


def require_room(*, principal: Principal, added: Mapping[Measure, int]) -> None:
    """Return when the principal may hand in so much more. Costs one look where nothing is limited.

    Raises QuotaExhausted.
    """
    with tenant_scope(principal.tenant_id, read_only=True):
        for rule, used in stocks_used(_rules(principal.tenant_id, [principal.user_id])).items():
            more = added.get(rule.measure, 0)
            if more > 0 and rule.hard is not None and used + more > rule.hard:
                raise _refusal(rule, used)


@contextmanager
def within_limits(tenant_id: uuid.UUID, users: Users) -> Iterator[None]:
    """Around what is written for these users, in the scope and transaction at hand: what grows a stock of theirs, of
    their groups or of the tenant beyond its limit is refused, and with it all that was written.

    Those who write under the same limit at the same time do it one after the other. Raises QuotaExhausted; the
    transaction must end with it.
    """
    rules = _rules(tenant_id, users, lock=True)
    before = stocks_used(rules)
    yield
    for rule, used in stocks_used(rules).items():
        if rule.hard is not None and used > rule.hard and used > before[rule]:
            raise _refusal(rule, before[rule])


def _rules(tenant_id: uuid.UUID, users: Users, *, lock: bool = False) -> Sequence[Limit]:
    """The rules that refuse, of the tenant, the users' groups and the users, in this order; each is locked by its row."""
    stocks = Quota.objects.filter(measure__in=STOCKS)
    levels = set(stocks.order_by().values_list("level", flat=True).distinct())
    if not levels:
        return ()
    known = [each for each in users if each is not None]
    subjects: Mapping[Level, Sequence[str]] = {
        Level.TENANT: [""],
        Level.GROUP: groups_of_users(known) if Level.GROUP in levels else [],
        Level.USER: sorted(str(each) for each in known),
    }
    named = {subject for each in subjects.values() for subject in each}
    rows = stocks.filter(subject__in=["", *named]).order_by("id")
    limits = TenantLimits(tenant_id, "", rules_by_level(rows.select_for_update() if lock else rows))
    found = (rule for level in LEVELS for subject in subjects[level] for rule in limits.of(level, subject))
    return [rule for rule in found if rule.hard is not None]


def _refusal(rule: Limit, used: int) -> QuotaExhausted:
    return QuotaExhausted(_TOLD[rule.level, rule.measure].format(limit=rule.hard, used=used))
