"""Use cases around custom roles: roles that a tenant makes out of permissions. Nobody gives more than they have."""

import uuid
from collections.abc import Collection

from django.db import IntegrityError, transaction

from kernel.errors import BadInput, Conflict, LimitReached, NotFound
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants import access_reads
from tenants.access_models import CustomRole
from tenants.access_types import DESCRIPTION_LENGTH, CustomRoleView
from tenants.models import ApiKey, Invitation, Tenant
from tenants.permissions import TENANT_PERMISSIONS, require, require_rank, require_within
from tenants.types import NAME_LENGTH, Principal, Role

MOST_ROLES = 100
_RECORDED = ("name", "description", "permissions")


def create_role(
    *, principal: Principal, name: str, permissions: Collection[str], description: str = ""
) -> CustomRoleView:
    """Make a role out of permissions that the principal has.

    Raises PermissionDenied for more than those, BadInput for unknown ones, LimitReached, Conflict for a taken name.
    """
    require(principal, "roles.write")
    wanted = _known(permissions)
    require_within(principal, wanted)
    role = CustomRole(
        tenant_id=principal.tenant_id, name=_name(name), description=_text(description), permissions=wanted
    )
    with tenant_scope(principal.tenant_id):
        # The tenant's row is the lock: two who make the last one at once must not both succeed.
        Tenant.objects.select_for_update().get(id=principal.tenant_id)
        if access_reads.custom_roles().count() >= MOST_ROLES:
            raise LimitReached(f"A tenant has at most {MOST_ROLES} roles of its own.")
        _save(role)
        _record("created", role, after=values_of(role, *_RECORDED))
        return access_reads.role_views([role])[0]


def get_role(*, principal: Principal, role_id: uuid.UUID) -> CustomRoleView:
    """A role of the principal's tenant: anybody of it may know what a role means. Raises NotFound."""
    with tenant_scope(principal.tenant_id, read_only=True):
        return access_reads.role_views([_role(role_id)])[0]


def change_role(
    *,
    principal: Principal,
    role_id: uuid.UUID,
    name: str | None = None,
    description: str | None = None,
    permissions: Collection[str] | None = None,
    expected: str | None = None,
) -> CustomRoleView:
    """Change a role, and with it what all who have it may; in effect everywhere within two seconds.

    Raises PermissionDenied when it allows, or would allow, more than the principal has; NotFound, BadInput, Stale when
    it is not the version `expected`, Conflict for a taken name.
    """
    require(principal, "roles.write")
    wanted = None if permissions is None else _known(permissions)
    with tenant_scope(principal.tenant_id):
        role = _role(role_id, lock=True)
        require_rank(principal, Role.VIEWER, role.permissions)
        check_version(role.updated_at, expected)
        before = values_of(role, *_RECORDED)
        if wanted is not None:
            require_within(principal, set(wanted) - set(role.permissions))
            role.permissions = wanted
        if name is not None:
            role.name = _name(name)
        if description is not None:
            role.description = _text(description)
        _save(role)
        _record("changed", role, before, values_of(role, *_RECORDED))
        return access_reads.role_views([role])[0]


def delete_role(*, principal: Principal, role_id: uuid.UUID, expected: str | None = None) -> None:
    """Delete a role that nobody has.

    Raises PermissionDenied when it allows more than the principal has, NotFound, Stale, Conflict while it is given to
    members or keys.
    """
    require(principal, "roles.write")
    with tenant_scope(principal.tenant_id):
        role = _role(role_id, lock=True)
        require_rank(principal, Role.VIEWER, role.permissions)
        check_version(role.updated_at, expected)
        view = access_reads.role_views([role])[0]
        if view.members or view.keys:
            raise Conflict(
                f"{view.members} members and {view.keys} keys have this role: give them another one first.",
                code="role_in_use",
            )
        offers = Invitation.objects.filter(custom_role=role)
        if offers.filter(accepted_at=None, withdrawn_at=None).exists():
            raise Conflict("An invitation that waits for an answer offers this role.", code="role_in_use")
        _record("deleted", role, values_of(role, *_RECORDED))
        # What is left are invitations that ended, and keys that were revoked.
        offers.update(custom_role=None)
        ApiKey.objects.filter(custom_role=role).update(custom_role=None)
        role.delete()


def wanted_role(
    principal: Principal, role: Role | None, custom_role_id: uuid.UUID | None
) -> tuple[str, CustomRole | None]:
    """The role asked for, as rows hold it. Needs the tenant's scope.

    Raises BadInput for a built-in and a custom one at once and for an unknown one, PermissionDenied for more than the
    principal has.
    """
    if custom_role_id is None:
        if role is None:
            raise BadInput("Name a role.", param="role")
        require_rank(principal, role)
        return role.value, None
    if role is not None:
        raise BadInput("Give a built-in role or a custom one.", param="custom_role")
    custom = CustomRole.objects.filter(id=custom_role_id).first()
    if custom is None:
        raise BadInput("There is no such role.", param="custom_role")
    require_rank(principal, Role.VIEWER, custom.permissions)
    return Role.VIEWER.value, custom


def _known(permissions: Collection[str]) -> list[str]:
    unknown = sorted(set(permissions) - TENANT_PERMISSIONS)
    if unknown:
        raise BadInput(f"No permission is named {', '.join(unknown)[:200]}.", param="permissions")
    if not permissions:
        raise BadInput("A role allows something: choose at least one permission.", param="permissions")
    return sorted(set(permissions))


def _role(role_id: uuid.UUID, *, lock: bool = False) -> CustomRole:
    rows = access_reads.custom_roles().filter(id=role_id)
    role = (rows.select_for_update() if lock else rows).first()
    if role is None:
        raise NotFound("There is no such role.")
    return role


def _save(role: CustomRole) -> None:
    try:
        with transaction.atomic():
            role.save()
    except IntegrityError as error:
        raise Conflict("There is a role of this name already.", param="name") from error


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > NAME_LENGTH:
        raise BadInput(f"A role's name has 1–{NAME_LENGTH} characters.", param="name")
    if name.casefold() in {each.value for each in Role}:
        raise BadInput("A built-in role has this name.", param="name")
    return name


def _text(text: str) -> str:
    if len(text.strip()) > DESCRIPTION_LENGTH:
        raise BadInput(f"At most {DESCRIPTION_LENGTH} characters.", param="description")
    return text.strip()


def _record(
    act: str,
    role: CustomRole,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    record_change(kind="role", object_id=role.id, tenant_id=role.tenant_id)
    record_act(
        act=act,
        kind="role",
        object_id=role.id,
        label=role.name,
        tenant_id=role.tenant_id,
        before=before,
        after=after,
    )
