"""Use cases around sharing: who of the tenant may use an assistant, a knowledge base, a model.

The things belong to higher apps, each of which stands behind the port `ResourceKind`; settings name who implements
them. A thing is open to its tenant until it is restricted; who may not use it does not learn that it is there.
"""

import uuid
from collections.abc import Sequence

from django.db.models import Q

from kernel.backends import backends
from kernel.errors import BadInput, Conflict, NotFound, PermissionDenied, Stale
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from substrate.versions import version_of
from tenants import access_reads
from tenants.access_models import Grant, Group, GroupMember, Restriction
from tenants.access_types import RESOURCE_KINDS, ResourceFound, SharingView, Subject, SubjectKind
from tenants.models import Membership
from tenants.permissions import EVERYTHING, may_use, require
from tenants.ports import ResourceKind
from tenants.types import Principal

MOST_SUBJECTS = 500
OPEN_VERSION = "open"


def resource_kind(kind: str) -> ResourceKind:
    """Who knows the things of this kind. Raises BadInput for an unknown one."""
    if kind not in RESOURCE_KINDS:
        raise BadInput(f"A kind is one of {', '.join(RESOURCE_KINDS)}.", param="kind")
    found: ResourceKind = backends[f"resource.{kind}"]
    return found


def find_resource(*, principal: Principal, kind: str, object_id: str) -> ResourceFound:
    """The thing, if it is there and open to the principal. Raises BadInput, NotFound."""
    found = resource_kind(kind).find(tenant_id=principal.tenant_id, object_id=object_id)
    if found is None or not may_use(principal, kind, found.id):
        raise NotFound("There is no such thing.")
    return found


def get_sharing(*, principal: Principal, kind: str, object_id: str) -> SharingView:
    """Who may use the thing. Raises PermissionDenied, BadInput, NotFound."""
    require(principal, "access.write")
    found = find_resource(principal=principal, kind=kind, object_id=object_id)
    with tenant_scope(principal.tenant_id, read_only=True):
        return _view(kind, found, _restriction(kind, found.id))


def set_sharing(
    *,
    principal: Principal,
    kind: str,
    object_id: str,
    restricted: bool,
    subjects: Sequence[Subject] = (),
    expected: str | None = None,
) -> SharingView:
    """Open the thing to everybody in the tenant, or restrict it to the subjects; in effect everywhere within two seconds.

    Raises PermissionDenied, BadInput for an unknown subject, NotFound, Stale when it is not the version `expected`, and
    Conflict when the principal would lose it themselves.
    """
    require(principal, "access.write")
    found = find_resource(principal=principal, kind=kind, object_id=object_id)
    wanted = dict.fromkeys(subjects)
    if len(wanted) > MOST_SUBJECTS:
        raise BadInput(
            f"Share with at most {MOST_SUBJECTS} people and groups; make groups.", param="subjects"
        )
    if wanted and not restricted:
        raise BadInput("What is open to everybody is granted to nobody in particular.", param="subjects")
    with tenant_scope(principal.tenant_id):
        row = _restriction(kind, found.id, lock=True)
        if expected not in (None, version_of(row.updated_at) if row else OPEN_VERSION):
            raise Stale
        before = _shared_with(_view(kind, found, row))
        if not restricted:
            if row is not None:
                row.delete()
            row = None
        else:
            row = _restrict(principal, kind, found.id, row, list(wanted))
        record_change(kind="grant", object_id=kind, tenant_id=principal.tenant_id)
        view = _view(kind, found, row)
        record_act(
            act="shared" if restricted else "opened",
            kind=kind,
            object_id=found.id,
            label=_told(view),
            tenant_id=principal.tenant_id,
            before=before,
            after=_shared_with(view),
        )
        return view


def find_subjects(*, principal: Principal, text: str, limit: int) -> list[Subject]:
    """Groups and members whose name or address holds `text`, groups first. Raises PermissionDenied."""
    require(principal, "access.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        groups = access_reads.groups().filter(name__icontains=text).order_by("name")[:limit]
        people = (
            Membership.objects.filter(Q(user__email__icontains=text) | Q(user__name__icontains=text))
            .select_related("user")
            .order_by("user__email")[:limit]
        )
        found = [_of_group(each) for each in groups] + [_of_member(each) for each in people]
    return found[:limit]


def require_no_rise(*, principal: Principal, group_id: uuid.UUID) -> None:
    """Return when nothing is granted to the group that is shut to the principal: who fills a group gives what it has.

    Needs the tenant's scope. Raises PermissionDenied.
    """
    if not principal.closed:
        return
    held = Restriction.objects.filter(grants__group_id=group_id).values_list("kind", "object_id")
    if not all(may_use(principal, kind, object_id) for kind, object_id in held):
        raise PermissionDenied(
            "This group may use things that you may not: ask somebody who may.", code="beyond_own_rights"
        )


def _restrict(
    principal: Principal, kind: str, object_id: str, row: Restriction | None, subjects: list[Subject]
) -> Restriction:
    members, groups = _known(subjects)
    if EVERYTHING not in principal.permissions and not _includes(principal, members, groups):
        raise Conflict("You would shut yourself out: share it with yourself too.", code="own_access")
    if row is None:
        row = Restriction(tenant_id=principal.tenant_id, kind=kind, object_id=object_id)
    # Saved in any case: its version stands for its grants.
    row.save()
    Grant.objects.filter(restriction=row).delete()
    Grant.objects.bulk_create(
        [Grant(tenant_id=row.tenant_id, restriction=row, membership=each) for each in members]
        + [Grant(tenant_id=row.tenant_id, restriction=row, group=each) for each in groups]
    )
    return row


def _known(subjects: Sequence[Subject]) -> tuple[list[Membership], list[Group]]:
    users = [each.id for each in subjects if each.kind is SubjectKind.USER]
    ids = [each.id for each in subjects if each.kind is SubjectKind.GROUP]
    members = list(Membership.objects.filter(user_id__in=users).select_related("user"))
    groups = list(access_reads.groups().filter(id__in=ids))
    if len(members) != len(users) or len(groups) != len(ids):
        raise BadInput("There is no such person or group in this tenant.", param="subjects")
    return members, groups


def _includes(principal: Principal, members: list[Membership], groups: list[Group]) -> bool:
    mine = principal.membership_id
    if mine is None:
        return False
    inside = GroupMember.objects.filter(group__in=groups, membership_id=mine)
    return any(each.id == mine for each in members) or inside.exists()


def _restriction(kind: str, object_id: str, *, lock: bool = False) -> Restriction | None:
    rows = Restriction.objects.filter(kind=kind, object_id=object_id)
    return (rows.select_for_update() if lock else rows).first()


def _view(kind: str, found: ResourceFound, row: Restriction | None) -> SharingView:
    if row is None:
        return SharingView(kind, found.id, found.name, False, (), OPEN_VERSION)
    grants = list(
        Grant.objects.filter(restriction=row).select_related("membership__user", "group").order_by("id")
    )
    subjects = [_of_group(each.group) for each in grants if each.group]
    subjects += [_of_member(each.membership) for each in grants if each.membership]
    return SharingView(kind, found.id, found.name, True, tuple(subjects), version_of(row.updated_at))


def _of_group(group: Group) -> Subject:
    return Subject(SubjectKind.GROUP, group.id, group.name, group.description)


def _of_member(membership: Membership) -> Subject:
    user = membership.user
    return Subject(SubjectKind.USER, user.id, user.email, user.name)


def _told(view: SharingView) -> str:
    if not view.restricted:
        return f"{view.name}: everybody"
    return f"{view.name}: {', '.join(each.name for each in view.subjects) or 'nobody'}"


def _shared_with(view: SharingView) -> dict[str, object]:
    """Whom a thing is open to, as the record of a change compares it."""
    names = sorted(f"{each.kind.value}: {each.name}" for each in view.subjects)
    return {"restricted": view.restricted, "subjects": names}
