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


def stocks_of_tenants(
    page: Sequence[TenantLimits], groups: Mapping[uuid.UUID, Sequence[str]]
) -> Mapping[uuid.UUID, Mapping[Limit, int]]:
    """How much is kept against each rule of stocks of these tenants: at most four queries, however many they are.

    The rule of every group is told for each of `groups`, that of every user for each who handed in anything. In a
    system scope.
    """
    rules = {each.tenant_id: _rules_of_somebody(each, groups.get(each.tenant_id, ())) for each in page}
    everybody = {
        each.tenant_id
        for each in page
        if any(rule.measure.is_stock for rule in each.rules.get(Level.USER, {}).get("", ()))
    }
    stock: Stock = backends["stock"]
    limited = [id for id, mine in rules.items() if Level.TENANT in _levels(mine)]
    whole = stock.used_of(limited) if limited else {}
    every = [rule for mine in rules.values() for rule in mine]
    inside = users_of_groups({uuid.UUID(rule.subject) for rule in every if rule.level is Level.GROUP})
    some = [id for id, mine in rules.items() if id in everybody or _levels(mine) - {Level.TENANT}]
    by_user = stock.used_by_each(some) if some else {}
    found = {}
    for limits in page:
        id = limits.tenant_id
        mine = by_user.get(id, {})
        each_user = _rules_of_users(limits, mine) if id in everybody else ()
        wanted = dict.fromkeys((*rules[id], *each_user))
        found[id] = {rule: _kept(rule, whole.get(id, {}), inside, mine) for rule in wanted}
    return found


def _rules_of_somebody(limits: TenantLimits, groups: Sequence[str]) -> Sequence[Limit]:
    """The rules of stocks that say whose they are, and those of every group as each group has them."""
    named = [
        rule
        for level in LEVELS
        for subject, rules in limits.rules.get(level, {}).items()
        for rule in rules
        if subject or level is Level.TENANT
    ]
    inherited = [rule for group in groups for rule in limits.of(Level.GROUP, group) if rule.inherited]
    return [rule for rule in (*named, *inherited) if rule.measure.is_stock]


def _rules_of_users(limits: TenantLimits, users: Iterable[uuid.UUID]) -> Sequence[Limit]:
    found = (rule for each in users for rule in limits.of(Level.USER, str(each)) if rule.inherited)
    return [rule for rule in found if rule.measure.is_stock]


def _levels(rules: Iterable[Limit]) -> set[Level]:
    return {rule.level for rule in rules}


def stocks_used(rules: Iterable[Limit]) -> dict[Limit, int]:
    """How much is kept against each of these rules of stocks, of somebody in particular; in the scope of the tenant."""
    wanted = list(rules)
    stock: Stock = backends["stock"]
    whole = stock.used() if any(rule.level is Level.TENANT for rule in wanted) else {}
    inside = users_of_groups({uuid.UUID(rule.subject) for rule in wanted if rule.level is Level.GROUP})
    users = {uuid.UUID(rule.subject) for rule in wanted if rule.level is Level.USER}.union(*inside.values())
    by_user = stock.used_by(users) if users else {}
    return {rule: _kept(rule, whole, inside, by_user) for rule in wanted}


def _kept(
    rule: Limit,
    whole: Mapping[Measure, int],
    inside: Mapping[str, Collection[uuid.UUID]],
    by_user: Mapping[uuid.UUID, Mapping[Measure, int]],
) -> int:
    if rule.level is Level.TENANT:
        return whole.get(rule.measure, 0)
    whose = inside.get(rule.subject, ()) if rule.level is Level.GROUP else (uuid.UUID(rule.subject),)
    return sum(by_user[each].get(rule.measure, 0) for each in whose if each in by_user)


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
