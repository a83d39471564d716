"""Setting limits: who may set which, what an amount may be, and how the change reaches every process."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from django.db import IntegrityError, transaction

from kernel.errors import BadInput, Conflict, NotFound
from kernel.ids import parse_uuid
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from substrate.versions import check_version, version_of
from tenants.limit_types import SUBJECT_LENGTH, Level, LineKind, Measure, QuotaView
from tenants.models import ApiKey, Group, Membership, Quota
from tenants.permissions import OPERATE, require
from tenants.types import Principal

NANO = 1_000_000_000
MOST_QUOTAS = 10_000


@dataclass(frozen=True, slots=True)
class QuotaAsked:
    """A limit as somebody asks for it. `subject` empty: of every one of its level (of the tenant: itself)."""

    level: Level
    subject: str
    measure: Measure
    hard: int | None
    soft: int | None = None


def set_tenant_limits(
    *, tenant_id: uuid.UUID, limits: Mapping[Measure, int | None], warn_percent: int | None = None
) -> list[QuotaView]:
    """Set limits of the whole tenant at once, all or none; None takes one away. In force within two seconds.

    `warn_percent` sets the soft limit at that share of the hard one. Raises BadInput.
    """
    with tenant_scope(tenant_id):
        for measure, hard in limits.items():
            found = Quota.objects.filter(level=Level.TENANT, subject="", measure=measure)
            if hard is None:
                old = found.first()
                if old is not None:
                    _record(old, "deleted", before=_amounts(old))
                    old.delete()
                continue
            soft = None if warn_percent is None else hard * warn_percent // 100
            asked = QuotaAsked(Level.TENANT, "", measure, hard, soft)
            check_amounts(asked)
            row = found.select_for_update().first() or Quota(
                tenant_id=tenant_id, level=Level.TENANT.value, measure=measure.value
            )
            made, before = row._state.adding, _amounts(row)
            row.hard, row.soft = hard, soft if warn_percent is not None else row.soft
            if row.soft is not None and row.soft > hard:
                row.soft = None
            row.save()
            _record(row, "created" if made else "changed", None if made else before, _amounts(row))
        return [view_of(row) for row in Quota.objects.filter(level=Level.TENANT).order_by("measure")]


def order_recount(*, tenant_id: uuid.UUID) -> None:
    """Have every process tell the counters of a tenant anew what ledger and spool say, with each caller's next call."""
    with tenant_scope(tenant_id):
        record_change(kind="counters", object_id=tenant_id, tenant_id=tenant_id)
        record_act(act="recounted", kind="quota", object_id=tenant_id, label="counters", tenant_id=tenant_id)


def create_quota(*, principal: Principal, asked: QuotaAsked) -> QuotaView:
    """Set a limit that is not set yet. Raises PermissionDenied, BadInput, NotFound (its subject), Conflict."""
    require_for(principal, asked.level)
    check_amounts(asked)
    with tenant_scope(principal.tenant_id):
        name = _name_of(asked)
        if Quota.objects.count() >= MOST_QUOTAS:
            raise Conflict(f"A tenant has at most {MOST_QUOTAS} limits.")
        row = Quota(
            tenant_id=principal.tenant_id,
            level=asked.level.value,
            subject=asked.subject,
            measure=asked.measure.value,
            hard=asked.hard,
            soft=asked.soft,
        )
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict("There is such a limit already: change that one.", param="measure") from error
        _record(row, "created", after=_amounts(row))
        return view_of(row, name)


def change_quota(
    *,
    principal: Principal,
    quota_id: uuid.UUID,
    hard: int | None,
    soft: int | None,
    expected: str | None = None,
) -> QuotaView:
    """Replace the amounts of a limit. Raises PermissionDenied, NotFound, BadInput, Stale."""
    with tenant_scope(principal.tenant_id):
        row = _locked(quota_id)
        asked = QuotaAsked(Level(row.level), row.subject, Measure(row.measure), hard, soft)
        require_for(principal, asked.level)
        check_version(row.updated_at, expected)
        check_amounts(asked)
        before = _amounts(row)
        row.hard, row.soft = hard, soft
        row.save()
        _record(row, "changed", before, _amounts(row))
        return view_of(row)


def delete_quota(*, principal: Principal, quota_id: uuid.UUID, expected: str | None = None) -> None:
    """Take a limit away. Raises PermissionDenied, NotFound, Stale."""
    with tenant_scope(principal.tenant_id):
        row = _locked(quota_id)
        require_for(principal, Level(row.level))
        check_version(row.updated_at, expected)
        _record(row, "deleted", before=_amounts(row))
        row.delete()


def get_quota(*, principal: Principal, quota_id: uuid.UUID) -> QuotaView:
    """One limit. Raises PermissionDenied, NotFound."""
    require(principal, "usage.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        row = Quota.objects.filter(id=quota_id).first()
        if row is None:
            raise NotFound("There is no such limit.")
        return view_of(row)


def require_for(principal: Principal, level: Level) -> None:
    """Return when the principal may set limits of the level: the tenant's own are the platform's to set.

    Raises PermissionDenied.
    """
    require(principal, OPERATE if level is Level.TENANT else "quotas.write")


def check_amounts(asked: QuotaAsked) -> None:
    """Return when the amounts mean something. Raises BadInput."""
    measure = asked.measure
    if measure.is_stock and asked.level in (Level.KEY, Level.MODEL):
        raise BadInput("Storage and documents are limited for the tenant, groups and users.", param="measure")
    if asked.hard is None and asked.soft is None:
        raise BadInput("Give a limit, an amount to warn at, or both.", param="limit")
    least = 1 if measure.kind in (LineKind.RATE, LineKind.RUNNING) else 0
    for name, amount in (("limit", asked.hard), ("soft_limit", asked.soft)):
        if amount is not None and not least <= amount <= measure.most:
            raise BadInput(
                f"An amount of this limit is a whole number from {least} to {measure.most}.", param=name
            )
    if asked.hard is not None and asked.soft is not None and asked.soft > asked.hard:
        raise BadInput("The soft limit is not above the hard one.", param="soft_limit")


def parse_money(text: str, *, param: str) -> int:
    """Nano-units of an amount of money. Raises BadInput when it is none, negative, or finer than nine decimals."""
    try:
        nano = Decimal(text) * NANO
    except InvalidOperation as error:
        raise BadInput(f"{param} is an amount of money, as 250 or 12.50.", param=param) from error
    if not nano.is_finite() or nano < 0 or nano != nano.to_integral_value():
        raise BadInput(f"{param} is an amount from 0 up with at most 9 decimals.", param=param)
    if nano > Measure.MONEY_PER_MONTH.most:
        raise BadInput(f"{param} is at most {Measure.MONEY_PER_MONTH.most // NANO}.", param=param)
    return int(nano)


def view_of(row: Quota, name: str = "") -> QuotaView:
    """A row as its administrators see it."""
    return QuotaView(
        id=row.id,
        level=Level(row.level),
        subject=row.subject,
        name=name,
        measure=Measure(row.measure),
        hard=row.hard,
        soft=row.soft,
        version=version_of(row.updated_at),
        updated_at=row.updated_at,
    )


def _locked(quota_id: uuid.UUID) -> Quota:
    row = Quota.objects.select_for_update().filter(id=quota_id).first()
    if row is None:
        raise NotFound("There is no such limit.")
    return row


def _name_of(asked: QuotaAsked) -> str:
    """What people call the subject. Raises NotFound when the tenant has none of this id, BadInput."""
    subject = asked.subject
    if asked.level is Level.TENANT and subject:
        raise BadInput("A limit of the tenant has no subject.", param="subject")
    if not subject:
        return ""
    if len(subject) > SUBJECT_LENGTH:
        raise BadInput("This is no id.", param="subject")
    if asked.level is Level.MODEL:
        if subject == "auto" or subject.startswith("assistant/"):
            raise BadInput(
                "A limit counts the model that answers: auto and assistants are none.", param="subject"
            )
        return subject
    name = names_of(asked.level, [subject]).get(subject)
    if name is None:
        raise NotFound("There is no such thing in this tenant.", param="subject")
    return name


def names_of(level: Level, subjects: Sequence[str]) -> dict[str, str]:
    """What people call groups, users and keys of the tenant at hand; those that are not there are left out."""
    ids = [each for each in (parse_uuid(subject) for subject in subjects) if each is not None]
    if level is Level.USER:
        rows = Membership.objects.filter(user_id__in=ids).values_list("user_id", "user__email")
        return {str(user_id): email for user_id, email in rows}
    if level is Level.GROUP:
        return {str(group.id): group.name for group in Group.objects.filter(id__in=ids)}
    if level is Level.KEY:
        keys = ApiKey.objects.filter(id__in=ids)
        return {str(key.id): key.name or f"atr_{key.prefix}" for key in keys}
    return {subject: subject for subject in subjects} if level is Level.MODEL else {}


def _amounts(row: Quota) -> dict[str, object]:
    return {"hard": row.hard, "soft": row.soft}


def _record(
    row: Quota,
    act: str,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    record_change(kind="quota", object_id=row.id, tenant_id=row.tenant_id)
    name = names_of(Level(row.level), [row.subject]).get(row.subject, row.subject) if row.subject else ""
    whose = f"{row.level} {name}" if name else row.level
    record_act(
        act=act,
        kind="quota",
        object_id=row.id,
        label=f"{whose} {row.measure}",
        tenant_id=row.tenant_id,
        before=before,
        after=after,
    )
