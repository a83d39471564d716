"""What one tenant has is neither told to another, nor counted there, nor changed from there: rules that no page shows."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from factories.rows import make_row
from factories.tenants import make_key, make_membership, make_principal, make_tenant, make_user

from inference.services import register_engine
from kernel.errors import NotFound, NotSignedIn, PermissionDenied
from substrate.crossing import system_scope
from substrate.jobs import ClaimedJob
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.access_models import Group, GroupMember, Restriction
from tenants.access_reads import groups_of_tenants
from tenants.closing import closed_to, tenants_that_shut
from tenants.lifecycle_types import DeletionState
from tenants.limit_types import Level, Measure
from tenants.models import BreakGlass, Membership, Tenant, TenantDeletion, TenantExport
from tenants.services import (
    authenticate_key_now,
    explain_access,
    find_subjects,
    get_sharing,
    set_sharing,
    set_tenant_limits,
)
from tenants.services.access import renew_principal
from tenants.services.break_glass import list_break_glass, standing_grants
from tenants.services.deleting import ask_deletion, withdraw_deletion
from tenants.services.exporting import (
    ask_export,
    delete_export,
    get_export,
    give_up_export,
    list_exports,
    make_archive,
    open_archive,
)
from tenants.services.keys import find_key_name
from tenants.services.limits import load_limits, load_limits_of
from tenants.types import Principal, Role, TenantState

pytestmark = pytest.mark.django_db
CANARY = "canary-5e0f-of-another-tenant"


def test_groups_are_told_of_the_tenants_that_were_asked_for() -> None:
    mine, other = make_tenant(), make_tenant()
    with system_scope("tests"):
        group = make_row(Group, mine)
        make_row(Group, other)
        assert groups_of_tenants([mine.id]) == {mine.id: [str(group.pk)]}


def test_what_another_tenant_restricts_is_shut_to_nobody_here() -> None:
    mine, other = make_tenant(), make_tenant()
    with system_scope("tests"):
        Restriction.objects.create(tenant=other, kind="model", object_id=CANARY)
        assert closed_to(tenant_id=mine.id, membership_id=None, group_ids=[]) == frozenset()
        assert closed_to(tenant_id=other.id, membership_id=None, group_ids=[]) == {f"model:{CANARY}"}
        assert tenants_that_shut([mine.id]) == set()
        assert tenants_that_shut([mine.id, other.id]) == {other.id}


def test_a_key_has_nothing_of_what_its_person_is_elsewhere() -> None:
    mine, other = make_tenant(), make_tenant()
    here = make_membership(mine, role=Role.MEMBER)
    key = make_key(mine, role=Role.OWNER, user=here.user)
    there = make_membership(other, here.user, role=Role.OWNER)
    with tenant_scope(other.id):
        group = Group.objects.create(name=CANARY)
        GroupMember.objects.create(group=group, membership=there)
    principal = authenticate_key_now(key.key)
    assert (principal.tenant_id, principal.role, principal.group_ids) == (mine.id, Role.MEMBER, frozenset())
    with tenant_scope(mine.id):
        Membership.objects.update(disabled_at=timezone.now())
    with pytest.raises((NotSignedIn, PermissionDenied)):
        authenticate_key_now(key.key)


def test_a_grant_to_read_content_is_shown_in_its_own_tenant_alone() -> None:
    mine, other = make_tenant(), make_tenant()
    operator = make_user(is_operator=True)
    with tenant_scope(other.id):
        grant = BreakGlass.objects.create(
            operator=operator,
            operator_email=operator.email,
            reason=CANARY,
            expires_at=timezone.now() + timedelta(hours=1),
        )
    visit = selectors.principal_of_visit(operator, other)
    shown = selectors.open_grant(visit)
    assert shown is not None
    assert shown.reason == CANARY
    assert selectors.open_grant(replace(visit, tenant_id=mine.id)) is None
    assert [each.id for each in list_break_glass(principal=make_principal(other, role=Role.OWNER))] == [
        grant.id
    ]
    assert list_break_glass(principal=make_principal(mine, role=Role.OWNER)) == []
    assert standing_grants(principal=make_principal(mine, role=Role.OWNER)) == (0, [])
    assert standing_grants(principal=make_principal(other, role=Role.OWNER))[0] == 1


@pytest.mark.django_db(transaction=True)
async def test_a_membership_of_another_tenant_renews_nobody() -> None:
    principal = await sync_to_async(make_principal)()
    foreign = await sync_to_async(make_principal)()
    assert (await renew_principal(principal)).membership_id == principal.membership_id
    with pytest.raises(PermissionDenied):
        await renew_principal(replace(principal, membership_id=foreign.membership_id))
    with pytest.raises(PermissionDenied):
        await renew_principal(replace(principal, membership_id=uuid.uuid4()))


def test_a_model_is_shared_by_each_tenant_with_its_own() -> None:
    """A model is everybody's: what two tenants say of it lies side by side."""
    mine, other = (make_principal(make_tenant(), role=Role.OWNER) for _ in range(2))
    register_engine(pool="shared", model="m-shared", url="http://127.0.0.1:9/v1")
    for principal in (other, mine):
        about = {"principal": principal, "kind": "model", "object_id": "m-shared"}
        assert not get_sharing(**about).restricted
        set_sharing(**about, restricted=True)
    set_sharing(principal=mine, kind="model", object_id="m-shared", restricted=False)
    assert not get_sharing(principal=mine, kind="model", object_id="m-shared").restricted
    assert get_sharing(principal=other, kind="model", object_id="m-shared").restricted


def test_nobody_of_another_tenant_is_offered_or_explained() -> None:
    mine, other = make_tenant(), make_tenant()
    owner = make_principal(mine, role=Role.OWNER)
    foreign = make_membership(other, make_user(f"{CANARY}@example.com"))
    with tenant_scope(other.id):
        Group.objects.create(name=CANARY)
    register_engine(pool="shared", model="m-shared", url="http://127.0.0.1:9/v1")
    assert find_subjects(principal=owner, text=CANARY, limit=9) == []
    assert len(find_subjects(principal=make_principal(other, role=Role.OWNER), text=CANARY, limit=9)) == 2
    with pytest.raises(NotFound):
        explain_access(principal=owner, user_id=foreign.user_id, kind="model", object_id="m-shared")


def test_a_deletion_is_taken_over_and_back_for_its_own_tenant_alone() -> None:
    mine, other = make_tenant(), make_tenant()
    operator = make_principal(is_operator=True, role=Role.OWNER)
    ask_deletion(principal=make_principal(other, role=Role.OWNER), confirm=other.slug)
    asked = ask_deletion(principal=operator, tenant_id=mine.id, confirm=mine.slug, reason=CANARY)
    assert asked.tenant_id == mine.id
    assert TenantDeletion.objects.get(tenant_id=other.id).by_member
    withdraw_deletion(principal=operator, tenant_id=other.id)
    assert TenantDeletion.objects.get(tenant_id=mine.id).state == DeletionState.WAITING
    assert dict(Tenant.objects.filter(id__in=[mine.id, other.id]).values_list("id", "state")) == {
        mine.id: TenantState.DELETING,
        other.id: TenantState.ACTIVE,
    }


@pytest.mark.parametrize("act", [get_export, delete_export, open_archive])
def test_an_archive_of_another_tenant_is_not_there(act: Callable[..., object]) -> None:
    mine, other = make_tenant(), make_tenant()
    owner, theirs = archive_of(mine, other)
    with pytest.raises(NotFound):
        act(principal=owner, export_id=theirs.id)
    with tenant_scope(other.id):
        assert TenantExport.objects.filter(id=theirs.id).values().get() == values_of(theirs)
    assert list_exports(principal=owner) == []


def test_an_archive_in_the_making_elsewhere_holds_nobody_up() -> None:
    mine, other = make_tenant(), make_tenant()
    owner, theirs = archive_of(mine, other, state="queued")
    asked = ask_export(principal=owner)
    assert (asked.tenant_id, [each.id for each in list_exports(principal=owner)]) == (mine.id, [asked.id])
    with tenant_scope(other.id):
        assert TenantExport.objects.get().id == theirs.id


@pytest.mark.django_db(transaction=True)
async def test_a_job_writes_to_archives_of_its_own_tenant() -> None:
    def furnish() -> tuple[Tenant, TenantExport]:
        mine, other = make_tenant(), make_tenant()
        return mine, archive_of(mine, other, state="queued")[1]

    def now() -> dict[str, object]:
        with system_scope("tests"):
            return TenantExport.objects.filter(id=theirs.id).values().get()

    mine, theirs = await sync_to_async(furnish)()
    job = ClaimedJob(uuid.uuid4(), mine.id, "x", {"export_id": str(theirs.id)}, 1, 3, "w", "", "")
    await make_archive(job)
    await give_up_export(job, CANARY)
    assert await sync_to_async(now)() == values_of(theirs)


def test_limits_are_loaded_of_one_tenant() -> None:
    mine, other = make_tenant(), make_tenant()
    set_tenant_limits(tenant_id=other.id, limits={Measure.TOKENS_PER_DAY: 41})
    assert load_limits(mine.id) is None
    assert load_limits_of([mine.id]) == {}
    set_tenant_limits(tenant_id=mine.id, limits={Measure.TOKENS_PER_DAY: 7})
    found = load_limits(mine.id)
    assert found is not None
    assert [each.hard for each in found.of(Level.TENANT, "")] == [7]


def test_a_keys_name_is_told_in_its_own_tenant_alone() -> None:
    mine, other = make_tenant(), make_tenant()
    principal = authenticate_key_now(make_key(other, name=CANARY).key)
    assert find_key_name(principal=principal) == CANARY
    assert find_key_name(principal=replace(principal, tenant_id=mine.id)) == ""


def archive_of(mine: Tenant, other: Tenant, *, state: str = "ready") -> tuple[Principal, TenantExport]:
    """An owner of `mine`, and an archive of `other`."""
    with tenant_scope(other.id):
        until = timezone.now() + timedelta(days=1)
        row = TenantExport.objects.create(asked_by=CANARY, state=state, blob_key="k", expires_at=until)
    return make_principal(mine, role=Role.OWNER), row


def values_of(row: TenantExport) -> dict[str, object]:
    return {each.attname: getattr(row, each.attname) for each in row._meta.concrete_fields}
