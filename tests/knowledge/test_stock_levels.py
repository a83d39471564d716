"""What groups and users may keep: inherited and overridden, all levels together, freed by deletion, shown and warned of."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from factories.tenants import (
    key_client,
    make_membership,
    make_principal,
    make_tenant,
    make_user,
    session_client,
)
from fakes.library import Library
from fakes.stock_contract import (
    colleague,
    group_of,
    kept,
    limit,
    test_each_user_has_a_last_place_of_their_own,
    test_the_last_place_of_a_group_is_given_once,
    test_the_strictest_of_all_levels_holds,
    test_who_restores_and_who_uploads_share_the_last_place,
)

from kernel.errors import QuotaExhausted
from knowledge.services import (
    create_text_documents,
    delete_document,
    delete_knowledge_base,
    get_knowledge_base,
    restore_document,
    restore_knowledge_base,
)
from knowledge.services.stocks import KnowledgeStock
from knowledge.types import NewDocument
from substrate.models import TenantAct
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.limit_types import Measure, TenantLimits
from tenants.models import GroupMember, Membership, Quota, User
from tenants.services.limit_watching import LimitWatch, find_passed, look_up
from tenants.services.limits import load_limits
from tenants.types import Role

__all__ = [
    "test_each_user_has_a_last_place_of_their_own",
    "test_the_last_place_of_a_group_is_given_once",
    "test_the_strictest_of_all_levels_holds",
    "test_who_restores_and_who_uploads_share_the_last_place",
]


def user_of(library: Library) -> str:
    return str(library.principal.user_id)


def warned_of(library: Library) -> list[Any]:
    with tenant_scope(library.tenant.id, read_only=True):
        return list(TenantAct.objects.filter(kind="quota", act="warned").values_list("after", flat=True))


def shown(client: Client, query: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    rows = client.get(f"/api/v1/quotas?{query}").json()["results"]
    return {
        (row["level"], row["measure"]): (row["limit"], row["used"], row["remaining"], row["origin"])
        for row in rows
    }


def test_a_user_has_what_all_have_until_it_is_overridden(library: Library) -> None:
    other, base = colleague(library), library.base()
    limit(library, "user", "documents", 1)
    limit(library, "user", "documents", 2, user_of(other))
    for user in (library, other):
        user.text(base, f"one of {user_of(user)}")
    with pytest.raises(QuotaExhausted, match="This user may keep 1 documents, and keeps 1"):
        library.text(base, "two")
    other.text(base, "two")
    admin = session_client(make_membership(library.tenant, role=Role.ADMIN))
    assert shown(admin, f"user={user_of(library)}") == {("user", "documents"): (1, 1, 0, "inherited")}
    assert shown(admin, f"user={user_of(other)}") == {("user", "documents"): (2, 2, 0, "own")}


def test_a_limit_of_ones_own_that_only_warns_stands_before_the_one_that_refuses(library: Library) -> None:
    limit(library, "user", "documents", 0)
    limit(library, "user", "documents", None, user_of(library))
    library.text(library.base(), "one")
    assert kept(library) == 1


def test_the_members_of_a_group_share_and_who_leaves_takes_theirs_along(library: Library) -> None:
    other, base = colleague(library), library.base()
    group = group_of(library, other)
    limit(library, "group", "storage_bytes", 10, group)
    library.text(base, "123456")
    with pytest.raises(QuotaExhausted, match="A group that this user is in may keep 10 bytes"):
        other.text(base, "12345")
    colleague(library).text(base, "outside of the group")
    with tenant_scope(library.tenant.id):
        GroupMember.objects.filter(membership_id=library.principal.membership_id).delete()
    other.text(base, "12345")
    owner = session_client(make_membership(library.tenant, role=Role.OWNER))
    assert shown(owner, "view=all") == {("group", "storage_bytes"): (10, 5, 5, "own")}


def test_what_one_level_refuses_counts_at_none(library: Library) -> None:
    limit(library, "tenant", "documents", 5)
    limit(library, "user", "documents", 3)
    limit(library, "group", "documents", 1, group_of(library))
    base = library.base()
    pairs = [(NewDocument(title=str(number)), f"text {number}") for number in range(2)]
    with pytest.raises(QuotaExhausted, match="A group"):
        create_text_documents(principal=library.principal, knowledge_base_id=base.id, documents=pairs)
    assert (kept(library), library.blobs()) == (0, [])


def test_a_document_counts_for_who_handed_in_what_it_holds(library: Library) -> None:
    other, base = colleague(library), library.base()
    limit(library, "user", "storage_bytes", 10)
    first = library.text(base, "123456789", external_id="a")
    assert first.user_id == library.principal.user_id
    # The same again is nobody else's; more than the other may keep is refused whoever had it before.
    assert other.text(base, "123456789", external_id="a").user_id == library.principal.user_id
    with pytest.raises(QuotaExhausted):
        other.text(base, "12345678901", external_id="a")
    assert other.text(base, "987654321", external_id="a").user_id == other.principal.user_id
    library.text(base, "1234567890")


def test_a_place_is_free_when_a_document_is_deleted_and_taken_when_it_is_restored(library: Library) -> None:
    limit(library, "user", "documents", 1)
    base = library.base()
    gone = library.text(base, "one")
    delete_document(principal=library.principal, document_id=gone.id)
    other = library.text(base, "two")
    with pytest.raises(QuotaExhausted):
        restore_document(principal=library.principal, document_id=gone.id)
    delete_document(principal=library.principal, document_id=other.id)
    back = restore_document(principal=library.principal, document_id=gone.id)
    assert (back.user_id, kept(library)) == (library.principal.user_id, 1)


def test_a_deleted_base_frees_what_is_in_it_until_it_is_restored(library: Library) -> None:
    limit(library, "user", "documents", 1)
    base = library.base()
    library.text(base, "one")
    delete_knowledge_base(principal=library.principal, knowledge_base_id=base.id)
    second = library.base("Second")
    more = library.text(second, "two")
    with pytest.raises(QuotaExhausted):
        restore_knowledge_base(principal=library.principal, knowledge_base_id=base.id)
    delete_document(principal=library.principal, document_id=more.id)
    restore_knowledge_base(principal=library.principal, knowledge_base_id=base.id)
    assert get_knowledge_base(principal=library.principal, knowledge_base_id=base.id).document_count == 1


def test_what_a_gone_user_handed_in_counts_for_the_tenant_alone(library: Library) -> None:
    other, base = colleague(library), library.base()
    group = group_of(library, other)
    other.text(base, "12345")
    with tenant_scope(library.tenant.id):
        Membership.objects.get(id=other.principal.membership_id).delete()
    for level, subject in (("tenant", ""), ("group", group)):
        limit(library, level, "storage_bytes", 100, subject)
    owner = session_client(make_membership(library.tenant, role=Role.OWNER))
    assert shown(owner, "view=all") == {
        ("tenant", "storage_bytes"): (100, 5, 95, "own"),
        ("group", "storage_bytes"): (100, 0, 100, "own"),
    }


def test_a_key_without_a_user_is_limited_by_the_tenant_alone(library: Library) -> None:
    limit(library, "user", "documents", 0)
    nobody = replace(library, principal=replace(library.principal, user_id=None, membership_id=None))
    assert nobody.text(library.base(), "one").user_id is None
    with tenant_scope(library.tenant.id, read_only=True):
        stock = KnowledgeStock()
        assert stock.used()[Measure.DOCUMENTS] == 1
        assert stock.used_by([library.tenant.id]) == {}


def test_over_rest_they_are_set_and_an_upload_beyond_them_refused(library: Library) -> None:
    admin = session_client(make_membership(library.tenant, role=Role.ADMIN))
    person = make_user()
    make_membership(library.tenant, person)
    client = key_client(library.tenant, user=person)

    def post(who: Client, path: str, **body: Any) -> Any:
        return who.post(f"/api/v1/{path}", json.dumps(body), content_type="application/json")

    made = post(admin, "quotas", level="user", subject=str(person.id), measure="documents", limit=1)
    assert made.status_code == 201
    documents = f"knowledge-bases/{library.base().id}/documents"
    first = post(client, documents, title="a", text="one")
    assert (first.status_code, first.json()["user_id"]) == (201, str(person.id))
    second = client.post(
        f"/api/v1/{documents}",
        {"title": "b", "text": "two"},
        content_type="application/json",
        headers={"accept-language": "de"},
    )
    assert (second.status_code, second.json()["code"]) == (429, "insufficient_quota")
    assert "Diese Person darf 1 Dokumente behalten und hat 1." in second.json()["detail"]


@pytest.mark.parametrize("level", ["key", "model"])
def test_keys_and_models_keep_nothing(library: Library, level: str) -> None:
    admin = session_client(make_membership(library.tenant, role=Role.ADMIN))
    body = {"level": level, "measure": "documents", "limit": 3}
    answer = admin.post("/api/v1/quotas", json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer.json()["param"]) == (400, "measure")


async def test_those_of_a_user_and_a_group_warn(library: Library) -> None:
    def fill() -> str:
        group = group_of(library)
        limit(library, "group", "storage_bytes", 10, group)
        limit(library, "user", "documents", 1, user_of(library))
        library.text(library.base(), "12345")
        return group

    group = await run_unit(fill)
    limits = await run_unit(load_limits, library.tenant.id)
    assert limits is not None
    known = await run_unit(look_up, [limits])
    found = await find_passed(limits, known[library.tenant.id])
    passed = {each.limit.subject: (each.used, each.state) for each in found}
    assert passed == {group: (5, "warned"), user_of(library): (1, "reached")}


async def test_those_of_every_user_and_every_group_warn_whom_they_concern(library: Library) -> None:
    def fill() -> tuple[str, str, list[Library]]:
        users = [library, colleague(library), colleague(library)]
        group, second = group_of(*users[:2]), group_of(users[2])
        limit(library, "user", "storage_bytes", 10)
        limit(library, "user", "storage_bytes", 100, user_of(users[2]))
        limit(library, "group", "documents", 3)
        base = library.base()
        for each, text in zip(users, ("0123456789", "1", "2345678901"), strict=True):
            each.text(base, text)
        return group, second, users

    group, second, users = await run_unit(fill)
    limits = await run_unit(load_limits, library.tenant.id)
    assert limits is not None
    found = await find_passed(limits, (await run_unit(look_up, [limits]))[library.tenant.id])
    passed = {each.limit.subject: (each.used, each.state, each.limit.inherited) for each in found}
    assert passed == {
        user_of(users[0]): (10, "reached", True),
        user_of(users[1]): (1, "warned", True),
        user_of(users[2]): (10, "warned", False),
        group: (2, "warned", True),
        second: (1, "warned", True),
    }


def elsewhere(library: Library) -> Library:
    """The same files, of another tenant."""
    tenant = make_tenant()
    return replace(library, tenant=tenant, principal=make_principal(tenant))


def fill_tenant(library: Library) -> TenantLimits:
    """Limits of stocks at every level, of somebody in particular and of every one; three bytes in one document."""
    group = group_of(library)
    for level, subject in (("tenant", ""), ("group", group), ("group", ""), ("user", "")):
        limit(library, level, "documents", 9, subject)
    limit(library, "user", "storage_bytes", 9, user_of(library))
    library.text(library.base(), "one")
    found = load_limits(library.tenant.id)
    assert found is not None
    return found


@pytest.mark.parametrize("count", [1, 4])
def test_all_tenants_are_summed_together(
    library: Library,
    count: int,
    django_assert_num_queries: Callable[[int], AbstractContextManager[None]],
) -> None:
    page = [fill_tenant(elsewhere(library)) for _ in range(count)]
    with django_assert_num_queries(4):
        known = look_up(page)
    assert [sorted(each.kept.values()) for each in known.values()] == [[1, 1, 1, 3]] * count


async def test_neither_what_was_deleted_nor_what_another_tenant_has_counts(library: Library) -> None:
    def fill() -> None:
        limit(library, "tenant", "documents", 2)
        base = library.base()
        delete_document(principal=library.principal, document_id=library.text(base, "three").id)
        library.text(base, "one")
        library.text(base, "two")
        other = make_tenant()
        with tenant_scope(other.id):
            Quota.objects.create(tenant=other, level="tenant", measure="documents", hard=1, soft=1)

    await run_unit(fill)
    assert await LimitWatch().look() == 1
    warned = await run_unit(warned_of, library)
    assert [json.loads(each) for each in warned] == [{"used": 2, "state": "reached", "hard": 2, "soft": 0}]


def test_who_is_in_two_tenants_is_summed_in_each_alone(library: Library) -> None:
    person = library.principal.user_id
    assert person is not None
    other = elsewhere(library)
    make_membership(other.tenant, User.objects.get(id=person))
    other = replace(other, principal=replace(other.principal, user_id=person))
    for each, texts in ((library, ("one",)), (other, ("two", "three"))):
        limit(each, "user", "documents", 9, user_of(each))
        for text in texts:
            each.text(each.base(text), text)
    page = [load_limits(each.tenant.id) for each in (library, other)]
    known = look_up([each for each in page if each is not None])
    assert [list(each.kept.values()) for each in known.values()] == [[1], [2]]
