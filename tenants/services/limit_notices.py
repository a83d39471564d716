"""Telling people that a limit is close or used up: once in each period and for each step, however often it is looked at.

Every minute the limits of days and months, and what a tenant keeps, are compared with what is used. What is passed for
the first time in its period is written down as an act of the tenant, and in the same transaction one job for each letter
is queued: to the owners and administrators, and to the user whose limit it is; and the tenant's webhooks are told.
Callers are told by a header besides (`tenants.planning`), people by a banner (`/quotas`). That is how the members of a
group hear of its limits: who can do something about them gets the letter, not a thousand people who share them.
"""

import asyncio
import hashlib
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.conf import settings

from kernel.actors import SYSTEM, acting
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError
from substrate.audit import record_act
from substrate.models import TenantAct
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.access_reads import groups as groups_here
from tenants.limit_types import Level, Limit, Line, LineKind, Measure, TenantLimits, field_of
from tenants.models import Membership, Quota, Tenant
from tenants.periods import period_name
from tenants.planning import line_of
from tenants.ports import Counters
from tenants.services.limits import limits_that_count
from tenants.services.mailing import head_addresses, queue_letter
from tenants.services.quotas import names_of
from tenants.services.standings import OK, read_standings, read_stocks, state_of
from tenants.services.stocks import stocks_of_tenants
from tenants.services.webhook_sending import emit_event
from tenants.types import TenantState

log = structlog.get_logger(__name__)

EVERY_S = 60.0
# Of rates nobody needs a letter: they are whole again within the minute.
LASTING = tuple(each for each in Measure if each.kind not in (LineKind.RATE, LineKind.RUNNING))
TEMPLATE = "account/email/limit.txt"
ACT = "warned"


@dataclass(frozen=True, slots=True)
class Passed:
    """A limit of which so much is used that somebody should know: `state` is `warned` or `reached`."""

    limit: Limit
    used: int
    state: str
    period: str

    @property
    def key(self) -> str:
        """What stands for it in the audit: the same each time it is looked at within its period."""
        name = field_of(self.limit.level, self.limit.subject, self.limit.measure)
        if len(name) > 100:
            name = hashlib.sha256(name.encode()).hexdigest()[:32]
        return f"{name}:{self.period}:{self.state}"


class LimitWatch:
    """Looks at limits and remembers what was told already, so that the database is asked once for each."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Remembers nothing yet; the audit does."""
        self._clock = clock
        self._told: set[tuple[uuid.UUID, str]] = set()

    async def look(self) -> int:
        """Look at all tenants once; returns how many limits were told. Raises Unavailable."""
        told = 0
        async for page in limits_that_count(LASTING):
            keep = [
                each.tenant_id
                for each in page
                if any(rule.measure.is_stock for rule in each.of(Level.TENANT, ""))
            ]
            whole = await run_unit(stocks_of_tenants, keep) if keep else {}
            for limits in page:
                told += await self._look_at(limits, whole.get(limits.tenant_id))
        return told

    async def _look_at(self, limits: TenantLimits, whole: Mapping[Measure, int] | None) -> int:
        told, tenant_id = 0, limits.tenant_id
        for passed in await find_passed(limits, whole=whole, clock=self._clock):
            if (tenant_id, passed.key) in self._told:
                continue
            told += await run_unit(_tell, tenant_id, passed)
            if len(self._told) >= 100_000:
                self._told.clear()
            self._told.add((tenant_id, passed.key))
        return told


async def watch_limits_forever() -> None:
    """Look every minute. A database or counters that are away are tried again."""
    watch = LimitWatch()
    while True:
        # Several processes may do this; a little spread keeps them apart.
        await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        try:
            await watch.look()
        except AtriumError as error:
            log.warning("limits_not_watched", error=str(error))


async def find_passed(
    limits: TenantLimits, *, whole: Mapping[Measure, int] | None = None, clock: Clock = SYSTEM_CLOCK
) -> list[Passed]:
    """Which of a tenant's limits of days, months and stocks are passed now. Raises Unavailable.

    `whole`: what the tenant keeps, where that is known already.
    """
    tenant_id, now = limits.tenant_id, clock.now()
    rules = _of_somebody(limits)
    if limits.of(Level.GROUP, ""):
        rules += await run_unit(_inherited_by_groups, limits)
    counted = [(rule, line_of(rule, now, limits.timezone)) for rule in rules if not rule.measure.is_stock]
    used = await _used(tenant_id, counted)
    found = [_passed(rule, amount, now, limits.timezone) for rule, amount in used.items()]
    stocks = [rule for rule in rules if rule.measure.is_stock]
    if stocks:
        kept = await _kept(tenant_id, stocks, whole)
        found += [_passed(rule, amount, now, limits.timezone) for rule, amount in kept.items()]
    return [each for each in found if each is not None]


async def _kept(
    tenant_id: uuid.UUID, rules: Sequence[Limit], whole: Mapping[Measure, int] | None
) -> Mapping[Limit, int]:
    """What is kept against each rule; the database is asked only for what `whole` does not say."""
    if whole is not None and all(rule.level is Level.TENANT for rule in rules):
        return {rule: whole.get(rule.measure, 0) for rule in rules}
    return await run_unit(read_stocks, tenant_id, rules)


def _of_somebody(limits: TenantLimits) -> list[Limit]:
    every = [rule for by_subject in limits.rules.values() for each in by_subject.values() for rule in each]
    return [rule for rule in every if rule.subject or rule.level is Level.TENANT]


def _inherited_by_groups(limits: TenantLimits) -> list[Limit]:
    """The limit of every group, as each group has it that has none of its own."""
    with tenant_scope(limits.tenant_id, read_only=True):
        groups = [str(each) for each in groups_here().order_by("id").values_list("id", flat=True)]
    return [rule for group in groups for rule in limits.of(Level.GROUP, group) if rule.inherited]


async def _used(tenant_id: uuid.UUID, counted: Sequence[tuple[Limit, Line]]) -> dict[Limit, int]:
    """What is used of each rule. One that is inherited and that no call has begun yet is left out.

    There may be a thousand groups: the ledger is not summed every minute for each that does nothing.
    """
    own = [pair for pair in counted if not pair[0].inherited]
    inherited = [pair for pair in counted if pair[0].inherited]
    standings = list(await read_standings(tenant_id, own))
    if inherited:
        counters: Counters = backends["counters"]
        standings += await counters.read(str(tenant_id), [line for _, line in inherited])
    return {
        rule: standing.used
        for (rule, _), standing in zip([*own, *inherited], standings, strict=True)
        if standing.seeded or not rule.inherited
    }


def _passed(rule: Limit, used: int, now: datetime, timezone: str) -> Passed | None:
    state = state_of(rule, used)
    if state == OK:
        return None
    kind = LineKind.DAY if rule.measure.kind is LineKind.DAY else LineKind.MONTH
    return Passed(rule, used, state, period_name(kind, now, timezone))


def _tell(tenant_id: uuid.UUID, passed: Passed) -> int:
    """Write it down and queue its letters, unless that was done; 1 when it was done now."""
    rule = passed.limit
    with acting(SYSTEM), tenant_scope(tenant_id):
        # The rule's row is the lock: two processes that look at once must not both tell.
        subject = "" if rule.inherited else rule.subject
        rows = Quota.objects.select_for_update().filter(
            level=rule.level, subject=subject, measure=rule.measure
        )
        active = Tenant.objects.filter(id=tenant_id, state=TenantState.ACTIVE).first()
        if rows.first() is None or active is None:
            return 0
        if TenantAct.objects.filter(kind="quota", act=ACT, object_id=passed.key).exists():
            return 0
        name = names_of(rule.level, [rule.subject]).get(rule.subject, rule.subject)
        # Before the act: endpoints are locked before the chain of acts, here as everywhere.
        emit_event(tenant_id=tenant_id, event=f"limit.{passed.state}", told=_told(passed))
        record_act(
            act=ACT,
            kind="quota",
            object_id=passed.key,
            label=f"{rule.level.value} {name} {rule.measure.value}".replace("  ", " "),
            tenant_id=tenant_id,
            after={"used": passed.used, "state": passed.state, "hard": rule.hard, "soft": rule.soft},
        )
        if settings.MAIL_CONFIGURED:
            _queue_letters(active, passed, name)
    return 1


def _told(passed: Passed) -> dict[str, object]:
    """What webhooks hold of it."""
    rule = passed.limit
    return {
        "level": rule.level.value,
        "subject": rule.subject,
        "measure": rule.measure.value,
        "used": passed.used,
        "hard": rule.hard,
        "soft": rule.soft,
        "period": passed.period,
    }


def _queue_letters(tenant: Tenant, passed: Passed, name: str) -> None:
    rule = passed.limit
    step = "is used up" if passed.state == "reached" else "is close to its end"
    words = {
        "tenant": tenant.name,
        "whose": f"{rule.level.value} {name}".strip(),
        "measure": rule.measure.value.replace("_", " "),
        "used": _shown(rule, passed.used),
        "limit": _shown(rule, rule.hard) if rule.hard is not None else "",
        "period": passed.period,
        "reached": passed.state == "reached",
    }
    for address in _recipients(rule):
        queue_letter(
            tenant_id=tenant.id,
            to=address,
            subject=f"{tenant.name}: a limit {step}",
            template=TEMPLATE,
            words=words,
        )


def _recipients(rule: Limit) -> Sequence[str]:
    found = list(head_addresses())
    if rule.level is Level.USER:
        open_ones = Membership.objects.filter(disabled_at=None, user__is_active=True, user__service_of=None)
        found += open_ones.filter(user_id=rule.subject).values_list("user__email", flat=True)
    return list(dict.fromkeys(found))


def _shown(rule: Limit, amount: int) -> str:
    return f"{amount / 1_000_000_000:,.2f}" if rule.measure.is_money else f"{amount:,}"
