"""Use cases around API keys."""

import uuid
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, Internal, NotFound, PermissionDenied
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.keyring import keyring
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.keys import make_key
from tenants.listed import key_views
from tenants.models import ApiKey, CustomRole, ServiceAccount
from tenants.permissions import permissions_of, refuse_visit, require, require_rank, require_within
from tenants.services.roles import wanted_role
from tenants.services.service_accounts import account_for_key
from tenants.types import NAME_LENGTH, IssuedKey, KeyState, KeyView, Principal, PriorityClass, Role

LONGEST_GRACE = timedelta(days=30)
_RECORDED = ("role", "priority_class", "user_id", "expires_at", "revoked_at")


def issue_api_key(
    *,
    tenant_id: uuid.UUID,
    name: str,
    role: Role | str = Role.MEMBER,
    user_id: uuid.UUID | None = None,
    expires_at: datetime | None = None,
    priority_class: PriorityClass = PriorityClass.CRITICAL,
    created_by_id: uuid.UUID | None = None,
    replaces: uuid.UUID | None = None,
    custom_role: CustomRole | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> IssuedKey:
    """Make a key; the operator's way (commands, first run). Its text is in the answer and nowhere else.

    Bound to `user_id`, it has at most that user's rights and dies with their membership. Raises BadInput.
    """
    if not name.strip() or len(name) > NAME_LENGTH:
        raise BadInput(f"A key's name has 1–{NAME_LENGTH} characters.", param="name")
    if expires_at is not None and expires_at <= clock.now():
        raise BadInput("A key's expiry lies in the future.", param="expires_at")
    try:
        wanted = Role(role)
    except ValueError as error:
        raise BadInput(f"A role is one of {', '.join(Role)}.", param="role") from error
    with tenant_scope(tenant_id):
        for _ in range(5):
            fresh = make_key()
            row = ApiKey(
                tenant_id=tenant_id,
                prefix=fresh.prefix,
                fingerprint=keyring().fingerprint(fresh.key),
                pepper_version=keyring().newest,
                name=name.strip(),
                role=wanted.value,
                custom_role=custom_role,
                priority_class=priority_class.value,
                user_id=user_id,
                created_by_id=created_by_id,
                expires_at=expires_at,
                replaces=replaces,
            )
            if _saved(row):
                record_change(kind="api_key", object_id=row.prefix, tenant_id=tenant_id)
                _record("created", row)
                return IssuedKey(row.id, fresh.prefix, fresh.key)
    raise Internal("No free prefix was found for the new key.")


def _saved(row: ApiKey) -> bool:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        if not ApiKey.objects.filter(prefix=row.prefix).exists():
            raise
        return False
    return True


def create_key(
    *,
    principal: Principal,
    name: str,
    role: Role | None = None,
    custom_role_id: uuid.UUID | None = None,
    expires_at: datetime | None = None,
    priority_class: PriorityClass = PriorityClass.CRITICAL,
    personal: bool = False,
    service_account_id: uuid.UUID | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[IssuedKey, KeyView]:
    """Make a key in the principal's tenant that may at most what the principal may; `personal` binds it to its user.

    It has the built-in role (member, where none is named) or the custom one; a service account's key has the account's.
    Raises PermissionDenied, BadInput, NotFound and Conflict of `account_for_key`.
    """
    require(principal, "keys.write")
    refuse_visit(principal, "You are visiting this tenant: making a key is for its members.")
    if personal and principal.user_id is None:
        raise BadInput("Only a person can make a personal key.", param="personal")
    if service_account_id is not None and (personal or role or custom_role_id):
        raise BadInput("A service account's key has the account's own role.", param="service_account")
    default = None if custom_role_id else Role.MEMBER
    with tenant_scope(principal.tenant_id):
        owner = principal.user_id if personal else None
        if service_account_id is not None:
            account = account_for_key(principal=principal, account_id=service_account_id)
            wanted, owner = (account.role, account.custom_role), account.user_id
        else:
            wanted = wanted_role(principal, role or default, custom_role_id)
            _require_within(principal, *wanted)
        issued = issue_api_key(
            tenant_id=principal.tenant_id,
            name=name,
            role=wanted[0],
            custom_role=wanted[1],
            user_id=owner,
            expires_at=expires_at,
            priority_class=priority_class,
            created_by_id=principal.user_id,
            clock=clock,
        )
    return issued, get_key(principal=principal, key_id=issued.id, clock=clock)


def rotate_key(
    *, principal: Principal, key_id: uuid.UUID, grace: timedelta, clock: Clock = SYSTEM_CLOCK
) -> tuple[IssuedKey, KeyView]:
    """Make a key that takes the place of another: same name, role, cap, user and length of life.

    Both work until `grace` is over, then the old one has expired. Raises PermissionDenied (another person's key too),
    NotFound, BadInput, and Conflict for a key that no longer works, or whose replacement is still valid.
    """
    require(principal, "keys.write")
    refuse_visit(principal, "You are visiting this tenant: rotating a key is for its members.")
    if not timedelta() <= grace <= LONGEST_GRACE:
        raise BadInput(f"The old key may work on for 0–{LONGEST_GRACE.days * 24} hours.", param="grace_hours")
    now = clock.now()
    with tenant_scope(principal.tenant_id):
        old, pattern = _rotatable(principal, key_id, now)
        life = pattern.expires_at - pattern.created_at if pattern.expires_at else None
        issued = issue_api_key(
            tenant_id=principal.tenant_id,
            name=old.name,
            role=Role(old.role),
            custom_role=old.custom_role,
            user_id=old.user_id,
            expires_at=now + life if life else None,
            priority_class=PriorityClass(old.priority_class),
            created_by_id=principal.user_id,
            replaces=old.id,
            clock=clock,
        )
        before = values_of(old, *_RECORDED)
        old.expires_at = min(old.expires_at or now + grace, now + grace)
        old.save(update_fields=["expires_at", "updated_at"])
        record_change(kind="api_key", object_id=old.prefix, tenant_id=old.tenant_id)
        _record("rotated", old, before)
    return issued, get_key(principal=principal, key_id=issued.id, clock=clock)


def _rotatable(principal: Principal, key_id: uuid.UUID, now: datetime) -> tuple[ApiKey, ApiKey]:
    """The key, and the one that says how long a key of this kind lives: an earlier rotation shortened the first."""
    key = selectors.api_keys().select_for_update().filter(id=key_id).first()
    if key is None:
        raise NotFound("There is no such key.")
    _require_within(principal, key.role, key.custom_role)
    if key.user_id is not None and ServiceAccount.objects.filter(id=key.user_id).exists():
        account_for_key(principal=principal, account_id=key.user_id)
    # Its text acts as that person: it goes to nobody else's hands.
    elif key.user_id is not None and key.user_id != principal.user_id:
        raise PermissionDenied("A personal key is rotated by its own user.")
    if selectors.key_state(key, now) not in (KeyState.VALID, KeyState.EXPIRING):
        raise Conflict("This key no longer works: make a new one.", code="key_ended")
    followers = list(selectors.api_keys().filter(replaces=key.id).order_by("created_at", "id"))
    if any(selectors.key_state(each, now) is not KeyState.REVOKED for each in followers):
        raise Conflict("This key was rotated already; its replacement is the one to use.", code="key_rotated")
    return key, followers[-1] if followers else key


def get_key(*, principal: Principal, key_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> KeyView:
    """A key of the principal's tenant. Raises PermissionDenied, NotFound."""
    require(principal, "keys.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        key = selectors.api_keys().filter(id=key_id).first()
        if key is None:
            raise NotFound("There is no such key.")
        return key_views([key], clock.now())[0]


def revoke_key(*, principal: Principal, key_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> None:
    """Revoke a key of the principal's tenant; refused everywhere within two seconds. Revoking again does nothing.

    Raises PermissionDenied, NotFound.
    """
    require(principal, "keys.write")
    with tenant_scope(principal.tenant_id):
        key = selectors.api_keys().select_for_update().filter(id=key_id).first()
        if key is None:
            raise NotFound("There is no such key.")
        _require_rank(principal, key)
        _revoke(key, clock)


def revoke_api_key(*, prefix: str, clock: Clock = SYSTEM_CLOCK) -> KeyView:
    """Revoke the key of `prefix` (with or without `atr_`); the operator's way. Raises NotFound."""
    wanted = prefix.removeprefix("atr_")
    with system_scope("revoke an API key"):
        key = ApiKey.objects.select_for_update().filter(prefix=wanted).first()
        if key is None:
            raise NotFound(f"There is no API key with the prefix {wanted!r}.")
        _revoke(key, clock)
        return selectors.key_view(key, clock.now())


def revoke_keys_of_member(user_id: uuid.UUID, *, clock: Clock = SYSTEM_CLOCK) -> int:
    """Revoke what is left of the keys of somebody who is taken out of the tenant; returns how many.

    Who is taken in again later begins with none. Called in the tenant's scope and transaction.
    """
    rows = list(ApiKey.objects.select_for_update().filter(user_id=user_id, revoked_at=None).order_by("id"))
    for key in rows:
        _revoke(key, clock)
    return len(rows)


def _revoke(key: ApiKey, clock: Clock) -> None:
    if key.revoked_at is None:
        key.revoked_at = clock.now()
        key.save(update_fields=["revoked_at", "updated_at"])
        _record("revoked", key)
    record_change(kind="api_key", object_id=key.prefix, tenant_id=key.tenant_id)


def _require_rank(principal: Principal, key: ApiKey) -> None:
    custom = key.custom_role
    require_rank(principal, Role(key.role), custom.permissions if custom else None)


def _require_within(principal: Principal, role: str, custom: CustomRole | None) -> None:
    """A key's text is handed over: operators, who deal with all roles, get none that may more than they do."""
    require_within(principal, permissions_of(Role(role), custom=custom.permissions if custom else None))


def _record(act: str, key: ApiKey, before: dict[str, object] | None = None) -> None:
    label = f"{key.name} (atr_{key.prefix})"
    after = values_of(key, *_RECORDED)
    record_act(
        act=act,
        kind="api_key",
        object_id=key.id,
        label=label,
        tenant_id=key.tenant_id,
        before=before,
        after=after,
    )


def find_key_name(*, principal: Principal) -> str:
    """The name of the key the principal came with, "" for a session."""
    if principal.api_key_id is None:
        return ""
    with tenant_scope(principal.tenant_id, read_only=True):
        return ApiKey.objects.filter(id=principal.api_key_id).values_list("name", flat=True).first() or ""
