"""Telling people that a limit is passed: once in each period and for each step, however often that is found.

What is passed for the first time in its period is written down as an act of the tenant, and in the same transaction one
job for each letter is queued: to the owners and administrators, and to the user whose limit or key it is; and the
tenant's webhooks are told. Callers are told by a header besides (`tenants.planning`), people by a banner (`/quotas`).
That is how the members of a group hear of its limits: who can do something about them gets the letter, not a thousand
people who share them. Of a limit that holds for each user or key, owners and administrators hear once, with the first
who passes it: a thousand may follow. `limit_watching` finds what is passed.
"""

import hashlib
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext, override

from kernel.actors import SYSTEM, acting
from substrate.audit import record_act
from substrate.models import TenantAct
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.limit_types import Level, Limit, LineKind, field_of
from tenants.models import ApiKey, Membership, Quota, Tenant
from tenants.periods import period_name
from tenants.services.mailing import head_addresses, known_language, languages_of, queue_letter
from tenants.services.quotas import names_of
from tenants.services.standings import OK, state_of
from tenants.services.webhook_sending import emit_event
from tenants.types import TenantState

TEMPLATE = "account/email/limit.txt"
ACT = "warned"
# What a process remembers to have told; the audit remembers the rest.
MOST_REMEMBERED = 100_000


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

    @property
    def is_of_each(self) -> bool:
        """Whether it is a limit that every user or key has, of whom there may be very many."""
        return self.limit.inherited and self.limit.level in (Level.USER, Level.KEY)


def passed_of(rule: Limit, used: int, now: datetime, timezone: str) -> Passed | None:
    """What is to be told of a rule of which so much is used; None when nothing is."""
    state = state_of(rule, used)
    if state == OK:
        return None
    kind = LineKind.DAY if rule.measure.kind is LineKind.DAY else LineKind.MONTH
    return Passed(rule, used, state, period_name(kind, now, timezone))


class Telling:
    """Remembers what was told already, so that the database is asked once for each."""

    def __init__(self) -> None:
        """Remembers nothing yet; the audit does."""
        self._told: set[tuple[uuid.UUID, str]] = set()

    async def tell(self, tenant_id: uuid.UUID, found: Collection[Passed]) -> int:
        """Tell what was not told yet; returns how many were. Raises Unavailable."""
        fresh = [each for each in found if (tenant_id, each.key) not in self._told]
        if len(fresh) > 1:
            before = await run_unit(_told_before, tenant_id, {each.key for each in fresh})
            self._remember(tenant_id, before)
            fresh = [each for each in fresh if each.key not in before]
        told = 0
        for each in fresh:
            told += await run_unit(_tell, tenant_id, each)
            self._remember(tenant_id, [each.key])
        return told

    def _remember(self, tenant_id: uuid.UUID, keys: Collection[str]) -> None:
        if len(self._told) + len(keys) >= MOST_REMEMBERED:
            self._told.clear()
        self._told.update((tenant_id, key) for key in keys)


def _told_before(tenant_id: uuid.UUID, keys: Collection[str]) -> set[str]:
    with tenant_scope(tenant_id, read_only=True):
        acts = TenantAct.objects.filter(kind="quota", act=ACT).order_by()
        return set(acts.filter(object_id__in=keys).values_list("object_id", flat=True))


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
        if rows.first() is None or active is None or _is_told(passed):
            return 0
        names = names_of(rule.level, [rule.subject])
        if rule.level is not Level.TENANT and rule.subject not in names:
            # Who it was has left meanwhile.
            return 0
        # Before the acts: endpoints are locked before the chain of acts, here as everywhere.
        emit_event(tenant_id=tenant_id, event=f"limit.{passed.state}", told=_told(passed))
        name = names.get(rule.subject, "")
        _record(tenant_id, passed, name)
        of_all = replace(passed, limit=replace(rule, subject=""))
        first = passed.is_of_each and not _is_told(of_all)
        if first:
            _record(tenant_id, of_all, "(each)")
        if settings.MAIL_CONFIGURED:
            _queue_letters(active, passed, name, heads=first or not passed.is_of_each)
    return 1


def _is_told(passed: Passed) -> bool:
    return TenantAct.objects.filter(kind="quota", act=ACT, object_id=passed.key).exists()


def _record(tenant_id: uuid.UUID, passed: Passed, name: str) -> None:
    rule = passed.limit
    record_act(
        act=ACT,
        kind="quota",
        object_id=passed.key,
        label=f"{rule.level.value} {name} {rule.measure.value}".replace("  ", " "),
        tenant_id=tenant_id,
        after={"used": passed.used, "state": passed.state, "hard": rule.hard, "soft": rule.soft},
    )


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


def _queue_letters(tenant: Tenant, passed: Passed, name: str, *, heads: bool) -> None:
    own = set(_owners(passed.limit))
    addresses = dict.fromkeys([*(head_addresses() if heads else ()), *own])
    for address, language in languages_of(list(addresses)).items():
        with override(known_language(language)):
            words = _words(tenant, passed, name)
            each = gettext(passed.limit.level.value)
        if not passed.is_of_each or address in own:
            each = ""
        queue_letter(
            tenant_id=tenant.id,
            to=address,
            language=language,
            template=TEMPLATE,
            words={**words, "each": each},
        )


def _words(tenant: Tenant, passed: Passed, name: str) -> dict[str, object]:
    """What a letter says of it, in the language at hand."""
    rule = passed.limit
    return {
        "tenant": tenant.name,
        "whose": f"{gettext(rule.level.value)} {name}".strip(),
        "measure": gettext(rule.measure.value.replace("_", " ")),
        "used": _shown(rule, passed.used),
        "limit": _shown(rule, rule.hard) if rule.hard is not None else "",
        "period": passed.period,
        "reached": passed.state == "reached",
    }


def _owners(rule: Limit) -> Sequence[str]:
    """Addresses of the people whose own limit it is: of a key, of the user that it belongs to."""
    people = Membership.objects.filter(disabled_at=None, user__is_active=True, user__service_of=None)
    if rule.level is Level.USER:
        people = people.filter(user_id=rule.subject)
    elif rule.level is Level.KEY:
        people = people.filter(user_id__in=ApiKey.objects.filter(id=rule.subject).values("user_id"))
    else:
        return ()
    return list(people.values_list("user__email", flat=True))


def _shown(rule: Limit, amount: int) -> str:
    if rule.measure.is_money:
        return number_format(amount / 1_000_000_000, decimal_pos=2, force_grouping=True)
    return number_format(amount, force_grouping=True)
