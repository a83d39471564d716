"""A tenant's directory provisions its groups over SCIM: made, renamed, filled with members of the tenant, deleted."""

import uuid
from collections.abc import Callable, Sequence

from django.db import IntegrityError, transaction

from kernel.errors import LimitReached, NotFound
from kernel.ids import parse_uuid
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from tenants import scim_reads
from tenants.access_models import Group, GroupMember
from tenants.access_types import EXTERNAL_ID_LENGTH
from tenants.models import Membership, Tenant
from tenants.permissions import require
from tenants.provisioning_types import Provisioner
from tenants.scim.errors import InvalidValue, NotUnique
from tenants.scim.patches import GroupState
from tenants.scim.resources import ScimGroup, check_etag, group_version
from tenants.services.groups import MOST_GROUPS
from tenants.types import NAME_LENGTH, Principal

# More changes than these at once are told by one act, which says how many.
MOST_TOLD = 50


def find_provisioned_groups(
    *, principal: Principal, filter_text: str, start: int, count: int, members: bool
) -> tuple[list[ScimGroup], int]:
    """A page of the tenant's groups that the filter lets through, and how many there are; `start` counts from 0.

    Raises PermissionDenied, InvalidFilter.
    """
    require(principal, "groups.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = scim_reads.scim_groups(filter_text)
        page = scim_reads.scim_group_views(list(rows[start : start + count]), members=members)
        return page, rows.count()


def get_provisioned_group(*, principal: Principal, group_id: uuid.UUID) -> ScimGroup:
    """A group of the tenant. Raises PermissionDenied, NotFound."""
    require(principal, "groups.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _view(_row(group_id))


def provision_group(*, caller: Provisioner, state: GroupState) -> ScimGroup:
    """Make a group with members. Raises InvalidValue, NotUnique, LimitReached."""
    require(caller.principal, "groups.write")
    wanted = _checked(state)
    with tenant_scope(caller.principal.tenant_id):
        # The tenant's row is the lock: two who make the last one at once must not both succeed.
        Tenant.objects.select_for_update().get(id=caller.principal.tenant_id)
        if Group.objects.count() >= MOST_GROUPS:
            raise LimitReached(f"A tenant has at most {MOST_GROUPS} groups.")
        row = Group(name=wanted.display_name, external_id=wanted.external_id)
        _save(row)
        _tell("created", row, row.name)
        _set_members(row, wanted.members or ())
        return _view(row)


def change_provisioned_group(
    *,
    caller: Provisioner,
    group_id: uuid.UUID,
    change: Callable[[GroupState], GroupState],
    expected: str = "",
) -> ScimGroup:
    """What `change` makes of a group is so from now on, or nothing is; in effect everywhere within two seconds.

    `expected` is an `If-Match` header. Raises NotFound, Stale, InvalidValue, NotUnique.
    """
    require(caller.principal, "groups.write")
    with tenant_scope(caller.principal.tenant_id):
        row = _row(group_id, lock=True)
        seen = _view(row)
        check_etag(group_version(seen), expected)
        after = _checked(change(seen.state))
        if (after.display_name, after.external_id) != (row.name, row.external_id):
            row.name, row.external_id = after.display_name, after.external_id
            _save(row)
            _tell("changed", row, row.name)
        if after.members is not None and set(after.members) != set(seen.state.members or ()):
            _set_members(row, after.members)
            row.save(update_fields=["updated_at"])
        return _view(row)


def remove_provisioned_group(*, caller: Provisioner, group_id: uuid.UUID, expected: str = "") -> None:
    """Delete a group, and with it what its members might through it. Raises NotFound, Stale."""
    require(caller.principal, "groups.write")
    with tenant_scope(caller.principal.tenant_id):
        row = _row(group_id, lock=True)
        check_etag(group_version(_view(row)), expected)
        _tell("deleted", row, row.name)
        row.delete()


def _row(group_id: uuid.UUID, *, lock: bool = False) -> Group:
    rows = Group.objects.select_for_update() if lock else Group.objects.all()
    row = rows.filter(id=group_id).first()
    if row is None:
        raise NotFound("There is no such group.")
    return row


def _view(row: Group) -> ScimGroup:
    return scim_reads.scim_group_views([row])[0]


def _checked(state: GroupState) -> GroupState:
    if not state.display_name or len(state.display_name) > NAME_LENGTH:
        raise InvalidValue(f"displayName has 1–{NAME_LENGTH} characters.")
    if len(state.external_id) > EXTERNAL_ID_LENGTH:
        raise InvalidValue(f"externalId has at most {EXTERNAL_ID_LENGTH} characters.")
    return state


def _save(row: Group) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise NotUnique("There is a group of this displayName or externalId already.") from error


def _set_members(row: Group, wanted: Sequence[str]) -> None:
    """The group's members are these from now on. Raises InvalidValue for an id that is no member's of the tenant."""
    ids = {parse_uuid(each) for each in wanted}
    people = Membership.objects.filter(id__in=[each for each in ids if each], user__service_of=None)
    members = {each.id: each for each in people.select_related("user")}
    if set(members) != ids:
        raise InvalidValue("A member of the group is no user of this tenant.")
    inside = scim_reads.people_inside().filter(group=row).select_related("membership__user")
    there = {each.membership_id: each.membership for each in inside}
    gone = [there[each] for each in there.keys() - members.keys()]
    fresh = [members[each] for each in members.keys() - there.keys()]
    GroupMember.objects.filter(group=row, membership__in=gone).delete()
    GroupMember.objects.bulk_create(
        [GroupMember(tenant_id=row.tenant_id, group=row, membership=each) for each in fresh]
    )
    _tell_members("member_added", row, fresh)
    _tell_members("member_removed", row, gone)


def _tell_members(act: str, row: Group, members: Sequence[Membership]) -> None:
    for each in members:
        record_change(kind="membership", object_id=each.user_id, tenant_id=row.tenant_id)
    if len(members) > MOST_TOLD:
        _tell(act, row, f"{row.name}: {len(members)} members")
        return
    for each in members:
        _tell(act, row, f"{row.name}: {each.user.email}")


def _tell(act: str, row: Group, label: str) -> None:
    record_change(kind="group", object_id=row.id, tenant_id=row.tenant_id)
    record_act(act=act, kind="group", object_id=row.id, label=label, tenant_id=row.tenant_id)
