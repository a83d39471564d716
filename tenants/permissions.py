"""Who may do what: one table from role to permissions.

Roles nest: an owner may all that an admin may, and so on. `platform.operate` comes with no role; it belongs to
platform operators.
"""

from collections.abc import Mapping

from kernel.errors import PermissionDenied
from tenants.types import Principal, Role

OPERATE = "platform.operate"

_VIEWER = frozenset(
    {"knowledge.read", "knowledge.inspect", "assistants.read", "models.read", "conversations.own"}
)
_MEMBER = _VIEWER | {"chat.use", "knowledge.write"}
_ADMIN = _MEMBER | {
    "assistants.write",
    "keys.write",
    "users.write",
    "usage.read",
    "jobs.read",
    "requests.read",
}
_OWNER = _ADMIN | {"tenant.write", "retention.write"}

ROLE_PERMISSIONS: Mapping[Role, frozenset[str]] = {
    Role.VIEWER: _VIEWER,
    Role.MEMBER: _MEMBER,
    Role.ADMIN: _ADMIN,
    Role.OWNER: _OWNER,
}

ALL_PERMISSIONS = _OWNER | {OPERATE}
# What an operator who visits a tenant must not have: each of them opens content.
CONTENT = frozenset({"chat.use", "knowledge.read", "conversations.own"})
VISIT = _OWNER - CONTENT | {OPERATE}


def permissions_of(role: Role, *, is_operator: bool = False) -> frozenset[str]:
    """All permissions of `role`, and the platform's for an operator."""
    granted = ROLE_PERMISSIONS[role]
    return granted | {OPERATE} if is_operator else granted


def require(principal: Principal, permission: str) -> None:
    """Return when `principal` has `permission`. Raises PermissionDenied, and LookupError for an unknown name."""
    if permission not in ALL_PERMISSIONS:
        raise LookupError(f"no permission is named {permission!r}")
    if permission not in principal.permissions:
        raise PermissionDenied(f"Your role does not allow this ({permission}).")


def refuse_visit(principal: Principal, act: str) -> None:
    """Return when `principal` belongs to the tenant they act in. Raises PermissionDenied, naming the `act`.

    For acts that hand out a credential: with it an operator could read what a visit must not show.
    """
    if principal.visiting:
        raise PermissionDenied(f"You are visiting this tenant: {act} is for its members.", code="visit")


def require_rank(principal: Principal, role: Role) -> None:
    """Return when `principal` may hand out, change or take away `role`: nobody rises above themselves.

    Raises PermissionDenied.
    """
    if role.rank < principal.role.rank and not principal.is_operator:
        raise PermissionDenied(f"Your role does not allow you to deal with the role {role.value!r}.")
