"""What a tenant asks of those who sign in, and second factors that were lost."""

import uuid

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.internal.flows.reauthentication import (
    did_recently_reauthenticate,
    get_reauthentication_flows,
)
from allauth.mfa.models import Authenticator
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

from kernel.errors import Conflict, NotFound, PermissionDenied
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.versions import check_version, version_of
from tenants.models import Tenant, User
from tenants.permissions import require
from tenants.services.sessions import end_every_session
from tenants.session_engine import SESSION_PROVIDER
from tenants.sign_in_types import SignInRules
from tenants.types import Principal


class SecondFactorRequired(PermissionDenied):
    """The tenant asks for a second factor, and this session was opened without one."""

    code = "second_factor_required"
    default_message = "This tenant asks for a second factor: set one up, or sign in with it."


class ReauthenticationRequired(PermissionDenied):
    """The act asks that its person showed a moment ago, with password or factor, that it is them."""

    code = "reauthentication_required"
    default_message = "Confirm that it is you: give your password or second factor again, then repeat this."


def is_reauthenticated(*, principal: Principal, request: HttpRequest) -> bool:
    """Whether the principal's person gave a password or a factor again in this session, within the last five minutes.

    False for API keys, and for people who have neither (an identity provider signs them in): they set up a factor first.
    """
    user = request.user
    if principal.api_key_id is not None or not user.is_authenticated or user.pk != principal.user_id:
        return False
    return bool(get_reauthentication_flows(user)) and bool(did_recently_reauthenticate(request))


def require_reauthentication(*, principal: Principal, request: HttpRequest) -> None:
    """Raises ReauthenticationRequired unless `is_reauthenticated`."""
    if not is_reauthenticated(principal=principal, request=request):
        raise ReauthenticationRequired


def used_second_factor(session: SessionBase) -> bool:
    """Whether the session was opened, or confirmed since, with a second factor or a passkey.

    An identity provider asks for its own: what it opened counts.
    """
    if session.get(SESSION_PROVIDER) is not None:
        return True
    records = session.get(AUTHENTICATION_METHODS_SESSION_KEY)
    return isinstance(records, list) and any(each.get("method") == "mfa" for each in records)


def get_sign_in_rules(*, principal: Principal) -> SignInRules:
    """The rules of the principal's tenant. Raises PermissionDenied, NotFound."""
    require(principal, "tenant.write")
    return _view(_tenant(principal.tenant_id))


def change_sign_in_rules(
    *,
    principal: Principal,
    second_factor_required: bool,
    has_second_factor: bool,
    expected: str | None = None,
) -> SignInRules:
    """Ask for a second factor, or no longer; sessions without one are refused within two seconds. API keys go on.

    Raises PermissionDenied, Stale, and Conflict when a person turns it on whose own session has none.
    """
    require(principal, "tenant.write")
    by_person = principal.api_key_id is None and not principal.visiting
    if second_factor_required and by_person and not has_second_factor:
        raise Conflict(
            "Set up a second factor of your own first: you would lock yourself out.",
            code="second_factor_missing",
        )
    with tenant_scope(principal.tenant_id):
        tenant = Tenant.objects.select_for_update().get(id=principal.tenant_id)
        check_version(tenant.updated_at, expected)
        if tenant.second_factor_required != second_factor_required:
            tenant.second_factor_required = second_factor_required
            tenant.save(update_fields=["second_factor_required", "updated_at"])
            record_change(kind="tenant", object_id=tenant.id, tenant_id=tenant.id)
            asked = "required" if second_factor_required else "optional"
            record_act(
                act="changed",
                kind="sign_in",
                object_id=tenant.id,
                label=f"second factor: {asked}",
                tenant_id=tenant.id,
            )
        return _view(tenant)


def reset_second_factors(*, user_id: uuid.UUID) -> int:
    """Take all second factors from a user who lost them; the operator's way. All their sessions end.

    Returns how many there were. Raises NotFound.
    """
    with system_scope("reset second factors"):
        user = User.objects.filter(id=user_id).first()
        if user is None:
            raise NotFound("There is no such user.")
        removed, _ = Authenticator.objects.filter(user_id=user_id).delete()
        end_every_session(user_id=user_id)
        record_change(kind="user", object_id=user_id)
        record_act(
            act="changed", kind="user", object_id=user_id, label=f"{user.email} (second factors reset)"
        )
        return removed


def own_password(*, user: User, session_key: str = "") -> None:
    """The person has shown that the address is theirs, and chose a password: it opens all their tenants.

    What was set up under the password that a tenant gave (second factors, other sessions) goes with it.
    """
    if user.password_given_by is None:
        return
    with system_scope("a person's own password"):
        user.password_given_by = None
        user.save(update_fields=["password_given_by", "updated_at"])
        Authenticator.objects.filter(user_id=user.id).delete()
        end_every_session(user_id=user.id, but=session_key)


def note_change_of_protection(*, user: User, what: str) -> None:
    """Write down that a person changed how their own account is protected."""
    record_act(act="changed", kind="user", object_id=user.id, label=f"{user.email} ({what})")


def _tenant(tenant_id: uuid.UUID) -> Tenant:
    tenant = Tenant.objects.filter(id=tenant_id).first()
    if tenant is None:
        raise NotFound
    return tenant


def _view(tenant: Tenant) -> SignInRules:
    return SignInRules(tenant.second_factor_required, version_of(tenant.updated_at))
