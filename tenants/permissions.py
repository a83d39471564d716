"""Who may do what: the one table of permissions, what each allows, and the least role that has it.

Every operation of REST, page of the console, route of `/v1` and event of the WebSocket names a permission of this
table. The built-in roles nest: an owner may all that an admin may, and so on. A custom role is any choice of a tenant's
permissions. `platform.operate` comes with no role; it belongs to platform operators. `conversations.inspect` belongs to
nobody: it lasts as long as a break-glass grant.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kernel.errors import PermissionDenied
from tenants.types import Principal, Role

OPERATE = "platform.operate"
# Reads what others wrote to assistants: no role has it, a break-glass grant gives it to the operator whose it is.
INSPECT = "conversations.inspect"
# Sees and uses what is restricted to others too.
EVERYTHING = "access.all"


@dataclass(frozen=True, slots=True)
class Permission:
    """One right by name. `allows` says it in words; `least` is the least built-in role that has it (None: no role).

    `content` opens what people wrote: an operator who visits a tenant does not get it.
    """

    name: str
    area: str
    allows: str
    least: Role | None
    content: bool = False


PERMISSIONS: tuple[Permission, ...] = (
    Permission("chat.use", "chat", "Ask assistants and models, in the chat and over /v1", Role.MEMBER, True),
    Permission("conversations.own", "chat", "See and keep their own conversations", Role.VIEWER, True),
    Permission(INSPECT, "chat", "Read others' conversations, under a break-glass grant", None, True),
    Permission("assistants.read", "assistants", "See assistants and what they are told to do", Role.VIEWER),
    Permission("assistants.write", "assistants", "Make, change, try and delete assistants", Role.ADMIN),
    Permission("knowledge.inspect", "knowledge", "See names, states and errors of documents", Role.VIEWER),
    Permission("knowledge.read", "knowledge", "Search knowledge bases and read documents", Role.VIEWER, True),
    Permission("knowledge.write", "knowledge", "Add, change and delete knowledge and documents", Role.MEMBER),
    Permission("models.read", "models", "See which models there are", Role.VIEWER),
    Permission("users.write", "access", "Invite, change, disable and remove members", Role.ADMIN),
    Permission("groups.write", "access", "Make groups and say who is in them", Role.ADMIN),
    Permission("roles.write", "access", "Make roles out of the permissions they have themselves", Role.ADMIN),
    Permission(
        "service_accounts.write", "access", "Make, change, disable and delete service accounts", Role.ADMIN
    ),
    Permission("keys.write", "access", "Make, rotate and revoke API keys", Role.ADMIN),
    Permission(
        "access.write", "access", "Say who may use an assistant, a knowledge base or a model", Role.ADMIN
    ),
    Permission(EVERYTHING, "access", "Use what is restricted to other people or groups too", Role.ADMIN),
    Permission("usage.read", "activity", "See usage and cost of the whole tenant", Role.ADMIN),
    Permission("requests.read", "activity", "See how requests went, without their content", Role.ADMIN),
    Permission("audit.read", "activity", "See who did what, from where, and what changed", Role.ADMIN),
    Permission("jobs.read", "activity", "See background jobs", Role.ADMIN),
    Permission("quotas.write", "tenant", "Limit users, keys and models within the tenant", Role.ADMIN),
    Permission("routing.write", "tenant", "Say which model answers when", Role.ADMIN),
    Permission("webhooks.write", "tenant", "Say where events of the tenant are sent", Role.ADMIN),
    Permission("retention.write", "tenant", "Say how long conversations and files are kept", Role.OWNER),
    Permission("tenant.write", "tenant", "Change the tenant itself", Role.OWNER),
    Permission(
        "tenant.export", "tenant", "Take out an archive of all that the tenant holds", Role.OWNER, True
    ),
    Permission("tenant.delete", "tenant", "Have the tenant deleted for good", Role.OWNER),
    Permission(OPERATE, "platform", "Look after tenants, models, pools and the platform", None),
)

ROLE_PERMISSIONS: Mapping[Role, frozenset[str]] = {
    role: frozenset(
        each.name for each in PERMISSIONS if each.least is not None and role.rank <= each.least.rank
    )
    for role in Role
}

ALL_PERMISSIONS = frozenset(each.name for each in PERMISSIONS)
# What a custom role may be made of.
TENANT_PERMISSIONS = ROLE_PERMISSIONS[Role.OWNER]
# What an operator who visits a tenant must not have: each of them opens content.
CONTENT = frozenset(each.name for each in PERMISSIONS if each.content)
VISIT = TENANT_PERMISSIONS - CONTENT | {OPERATE}
# What a break-glass grant adds to a visit, and where each request under it is written down. What opens conversations is
# not among these: who reads them writes down which, in the transaction that reads (`tenants.services.record_look`).
BREAK_GLASS = frozenset({"knowledge.read", INSPECT})
WATCHED_AREAS = frozenset({"knowledge", "chat"})
WATCHED = frozenset(each.name for each in PERMISSIONS if each.area in WATCHED_AREAS) - {INSPECT}


def permissions_of(
    role: Role, *, is_operator: bool = False, custom: Collection[str] | None = None
) -> frozenset[str]:
    """All permissions of `role`, or of the custom role made of `custom`; and the platform's for an operator.

    Names that a custom role holds and this version does not know allow nothing.
    """
    granted = ROLE_PERMISSIONS[role] if custom is None else TENANT_PERMISSIONS.intersection(custom)
    return granted | {OPERATE} if is_operator else granted


def require(principal: Principal, permission: str) -> None:
    """Return when `principal` has `permission`. Raises PermissionDenied, and LookupError for an unknown name."""
    if permission not in ALL_PERMISSIONS:
        raise LookupError(f"no permission is named {permission!r}")
    if permission in principal.permissions:
        return
    if permission == INSPECT:
        raise no_grant()
    raise PermissionDenied(f"Your role does not allow this ({permission}).")


def no_grant() -> PermissionDenied:
    """Why others' conversations are shut: no grant was opened, or it is over, or somebody ended it."""
    return PermissionDenied(
        "Others' conversations are read by operators under break-glass alone, and no grant of yours is open in this tenant.",
        code="break_glass_needed",
    )


def refuse_visit(principal: Principal, message: str) -> None:
    """Return when `principal` belongs to the tenant they act in. Raises PermissionDenied, whose `message` names the act.

    For acts that hand out a credential: with it an operator could read what a visit must not show.
    """
    if principal.visiting:
        raise PermissionDenied(message, code="visit")


def require_rank(principal: Principal, role: Role, custom: Collection[str] | None = None) -> None:
    """Return when `principal` may hand out, change or take away `role`, or the custom role made of `custom`.

    Nobody rises above themselves, nor lifts others above: what is dealt with must be within what one has. Raises
    PermissionDenied.
    """
    if principal.is_operator:
        return
    if custom is None and not principal.custom_role:
        within = role.rank >= principal.role.rank
    else:
        within = permissions_of(role, custom=custom) <= principal.permissions
    if not within:
        what = f"the role {role.value!r}" if custom is None else "a role that may more than you"
        raise PermissionDenied(f"Your role does not allow you to deal with {what}.")


def require_within(principal: Principal, wanted: Collection[str]) -> None:
    """Return when `principal` has all of the permissions `wanted`. Raises PermissionDenied, which names those missing.

    Operators are no exception: a visit must not make a role that opens content, which would outlive a break-glass grant.
    """
    own = principal.permissions - CONTENT if principal.visiting else principal.permissions
    missing = sorted(set(wanted) - own)
    if missing:
        raise PermissionDenied(
            f"You cannot give what you do not have: {', '.join(missing)}.", code="beyond_own_rights"
        )


def may_use(principal: Principal, kind: str, object_id: object) -> bool:
    """Whether the thing is open to the principal: not restricted, or granted to them. Asks nothing but memory."""
    return not principal.closed or f"{kind}:{object_id}" not in principal.closed


def closed_ids(principal: Principal, kind: str) -> list[str]:
    """Ids of the things of `kind` that are restricted to others: lists leave them out."""
    prefix = f"{kind}:"
    return [each.removeprefix(prefix) for each in principal.closed if each.startswith(prefix)]
