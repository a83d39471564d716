"""Use cases around groups: members of a tenant under one name, to whom rights are given together."""

import uuid
from collections.abc import Collection, Sequence

from django.db import IntegrityError, transaction

from kernel.errors import BadInput, Conflict, LimitReached, NotFound
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants import access_reads
from tenants.access_models import Group, GroupMember
from tenants.access_types import DESCRIPTION_LENGTH, EXTERNAL_ID_LENGTH, GroupView
from tenants.models import Membership, Tenant
from tenants.permissions import require
from tenants.services.grants import require_no_rise
from tenants.types import NAME_LENGTH, Principal

MOST_GROUPS = 1_000
_RECORDED = ("name", "description", "external_id")
# So many are added to a group at once.
MOST_ADDED = 200


def create_group(
    *, principal: Principal, name: str, description: str = "", external_id: str = ""
) -> GroupView:
    """Make a group without members. Raises PermissionDenied, BadInput, LimitReached, Conflict for a name that is taken."""
    require(principal, "groups.write")
    group = Group(
        tenant_id=principal.tenant_id,
        name=_name(name),
        description=_text(description, "description", DESCRIPTION_LENGTH),
        external_id=_text(external_id, "external_id", EXTERNAL_ID_LENGTH),
    )
    with tenant_scope(principal.tenant_id):
        # The tenant's row is the lock: two who make the last one at once must not both succeed.
        Tenant.objects.select_for_update().get(id=principal.tenant_id)
        if access_reads.groups().count() >= MOST_GROUPS:
            raise LimitReached(f"A tenant has at most {MOST_GROUPS} groups.")
        _save(group)
        _record("created", group, after=values_of(group, *_RECORDED))
        return access_reads.group_view(group, 0)


def get_group(*, principal: Principal, group_id: uuid.UUID) -> GroupView:
    """A group of the principal's tenant. Raises PermissionDenied, NotFound."""
    require(principal, "groups.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return access_reads.group_views([_group(group_id)])[0]


def change_group(
    *,
    principal: Principal,
    group_id: uuid.UUID,
    name: str | None = None,
    description: str | None = None,
    external_id: str | None = None,
    expected: str | None = None,
) -> GroupView:
    """Change how a group is called; who is in it stays.

    Raises PermissionDenied, NotFound, BadInput, Conflict for a name that is taken, Stale when it is not `expected`.
    """
    require(principal, "groups.write")
    with tenant_scope(principal.tenant_id):
        group = _locked(group_id)
        check_version(group.updated_at, expected)
        before = values_of(group, *_RECORDED)
        if name is not None:
            group.name = _name(name)
        if description is not None:
            group.description = _text(description, "description", DESCRIPTION_LENGTH)
        if external_id is not None:
            group.external_id = _text(external_id, "external_id", EXTERNAL_ID_LENGTH)
        _save(group)
        _record("changed", group, before, values_of(group, *_RECORDED))
        return access_reads.group_views([group])[0]


def delete_group(*, principal: Principal, group_id: uuid.UUID, expected: str | None = None) -> None:
    """Delete a group, and with it what its members might through it; in effect everywhere within two seconds.

    Raises PermissionDenied, NotFound, Stale when it is not the version `expected`.
    """
    require(principal, "groups.write")
    with tenant_scope(principal.tenant_id):
        group = _locked(group_id)
        check_version(group.updated_at, expected)
        _record("deleted", group, values_of(group, *_RECORDED))
        group.delete()


def add_group_members(
    *, principal: Principal, group_id: uuid.UUID, user_ids: Collection[uuid.UUID]
) -> GroupView:
    """Put up to 200 members of the tenant into a group, all or nobody; who is in it already stays.

    In effect everywhere within two seconds. Raises PermissionDenied (also when the group may use what the principal may
    not), NotFound for the group or any of the users.
    """
    require(principal, "groups.write")
    wanted = set(user_ids)
    if not 1 <= len(wanted) <= MOST_ADDED:
        raise BadInput(f"Add 1–{MOST_ADDED} members at once.", param="user_ids")
    with tenant_scope(principal.tenant_id):
        group = _locked(group_id)
        require_no_rise(principal=principal, group_id=group.id)
        members = list(Membership.objects.filter(user_id__in=wanted).select_related("user"))
        if len(members) != len(wanted):
            raise NotFound("There is no such user in this tenant.")
        there = GroupMember.objects.filter(group=group, membership__in=members)
        inside = set(there.values_list("membership_id", flat=True))
        fresh = [each for each in members if each.id not in inside]
        GroupMember.objects.bulk_create(
            [GroupMember(tenant_id=group.tenant_id, group=group, membership=each) for each in fresh]
        )
        _tell("member_added", group, fresh)
        return access_reads.group_views([group])[0]


def remove_group_member(*, principal: Principal, group_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """Take a member out of a group; in effect everywhere within two seconds.

    Raises PermissionDenied, NotFound when there is no such group, or the user is not in it.
    """
    require(principal, "groups.write")
    with tenant_scope(principal.tenant_id):
        group = _locked(group_id)
        row = (
            GroupMember.objects.filter(group=group, membership__user_id=user_id)
            .select_related("membership__user")
            .first()
        )
        if row is None:
            raise NotFound("This user is not in the group.")
        member = row.membership
        row.delete()
        _tell("member_removed", group, [member])


def _group(group_id: uuid.UUID) -> Group:
    group = access_reads.groups().filter(id=group_id).first()
    if group is None:
        raise NotFound("There is no such group.")
    return group


def _locked(group_id: uuid.UUID) -> Group:
    group = Group.objects.select_for_update().filter(id=group_id).first()
    if group is None:
        raise NotFound("There is no such group.")
    return group


def _save(group: Group) -> None:
    try:
        with transaction.atomic():
            group.save()
    except IntegrityError as error:
        taken = Group.objects.filter(name=group.name).exclude(id=group.id).exists()
        raise Conflict(
            "There is a group of this name already." if taken else "There is a group of this id already.",
            param="name" if taken else "external_id",
        ) from error


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > NAME_LENGTH:
        raise BadInput(f"A group's name has 1–{NAME_LENGTH} characters.", param="name")
    return name


def _text(text: str, param: str, longest: int) -> str:
    if len(text.strip()) > longest:
        raise BadInput(f"At most {longest} characters.", param=param)
    return text.strip()


def _tell(act: str, group: Group, members: Sequence[Membership]) -> None:
    """Principals of these members are others now; the record names each of them."""
    record_change(kind="group", object_id=group.id, tenant_id=group.tenant_id)
    for each in members:
        record_change(kind="membership", object_id=each.user_id, tenant_id=group.tenant_id)
        label = f"{group.name}: {each.user.email}"
        record_act(act=act, kind="group", object_id=group.id, label=label, tenant_id=group.tenant_id)


def _record(
    act: str,
    group: Group,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    record_change(kind="group", object_id=group.id, tenant_id=group.tenant_id)
    record_act(
        act=act,
        kind="group",
        object_id=group.id,
        label=group.name,
        tenant_id=group.tenant_id,
        before=before,
        after=after,
    )
