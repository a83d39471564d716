"""The end of a tenant: refused at once, undone while it waits, and then nothing of it anywhere, provably."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from factories.tenants import (
    key_client,
    make_membership,
    make_principal,
    make_tenant,
    make_user,
    session_client,
)
from fakes.clocks import FrozenClock
from fakes.whole_tenant import counts_of, furnish_rows, furnish_stores, tables_with

from kernel.backends import backends
from kernel.errors import Unavailable
from knowledge.adapters.embedded_store import EmbeddedVectorStore
from substrate.audit import acts_of_tenant
from substrate.idempotency import begin_once
from substrate.models import IdempotencyRecord, PlatformAct
from substrate.participation import TableParticipant, owned_models
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit
from tenants.models import Tenant, TenantDeletion, User
from tenants.services.deleting import ask_deletion, carry_out_deletions, withdraw_deletion
from tenants.services.exporting import participants
from tenants.types import Role

NOW = datetime.now(UTC).replace(microsecond=0)
LATER = FrozenClock(NOW + timedelta(hours=1))


def post(client: Client, path: str, body: object) -> Any:
    return client.post(f"/api/v1{path}", json.dumps(body), content_type="application/json")


def test_every_row_of_a_tenant_belongs_to_exactly_one_participant() -> None:
    answered = [label for each in participants().values() for label in each.owns()]
    assert len(answered) == len(set(answered)), "two participants answer for the same rows"
    assert set(answered) == {model._meta.label for model in owned_models()}
    assert len(answered) > 25


def test_every_table_is_searched_by_exactly_one_participant() -> None:
    searched = [
        model._meta.label
        for each in participants().values()
        if isinstance(each, TableParticipant)
        for model in each.searched()
    ]
    assert len(searched) == len(set(searched))
    assert {"account.EmailAddress", "tenants.User", "inference.Model", "substrate.Change"} <= set(searched)


def test_what_has_to_do_with_secrets_never_leaves_the_house() -> None:
    """A column whose name says secret is left out of archives, or named here with the reason why it is none."""
    harmless = {
        *("prompt_tokens", "completion_tokens", "first_token_ms", "tokens", "api_key_id"),
        *(f"{side}_{what}_tokens" for side in ("answered", "copied") for what in ("prompt", "completion")),
        # Of contents, and links of the audit.
        *("content_hash", "hash", "forgotten_hash"),
    }
    telling = ("secret", "token", "hash", "fingerprint", "password", "pepper", "api_key", "credential")
    hidden = {
        f"{label}.{name}"
        for each in participants().values()
        if isinstance(each, TableParticipant)
        for label, names in each.secrets.items()
        for name in names
    }
    exported = {
        f"{model._meta.label}.{field.attname}"
        for each in participants().values()
        if isinstance(each, TableParticipant)
        for model in owned_models()
        if model._meta.label in each.owns() and model._meta.label not in each.kept_in
        for field in model._meta.concrete_fields
        if any(word in field.attname for word in telling) and field.attname not in harmless
    }
    assert exported - hidden == set()


@pytest.mark.django_db
class TestAsking:
    def test_an_owner_has_their_tenant_deleted_and_every_door_shuts(self) -> None:
        tenant = make_tenant("acme")
        owner = session_client(make_membership(tenant, role=Role.OWNER))
        key = key_client(tenant, role=Role.ADMIN)

        wrong = post(owner, "/tenant/deletion", {"confirm": "other"})
        assert (wrong.status_code, wrong.json()["code"]) == (400, "not_confirmed")
        refused = post(owner, "/tenant/deletion", {"confirm": "acme", "grace_hours": 0})
        assert refused.status_code == 400
        asked = post(owner, "/tenant/deletion", {"confirm": "acme", "reason": "we move"}).json()

        assert (asked["state"], asked["slug"], asked["reason"]) == ("waiting", "acme", "we move")
        due = datetime.fromisoformat(asked["due_at"]) - datetime.now(UTC)
        assert timedelta(days=6, hours=23) < due <= timedelta(days=7)
        for client in (owner, key):
            answer = client.get("/api/v1/assistants")
            assert (answer.status_code, answer.json()["code"]) == (403, "tenant_suspended")
        assert Tenant.objects.get(id=tenant.id).state == "deleting"
        acts = acts_of_tenant(tenant_id=tenant.id, limit=1)
        assert [(each.act, each.label) for each in acts] == [("deletion_asked", "we move")]
        assert PlatformAct.objects.filter(act="deletion_asked", label="acme").count() == 1

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER, Role.VIEWER])
    def test_nobody_else_in_the_tenant_may(self, role: Role) -> None:
        tenant = make_tenant()
        answer = post(key_client(tenant, role=role), "/tenant/deletion", {"confirm": tenant.slug})
        assert answer.status_code == 403
        assert Tenant.objects.get(id=tenant.id).state == "active"

    def test_an_operator_asks_and_withdraws(self) -> None:
        home, tenant = make_tenant(), make_tenant("acme")
        operator = session_client(make_membership(home, make_user(is_operator=True), role=Role.OWNER))
        path = f"/tenants/{tenant.id}/deletion"

        own = post(operator, f"/tenants/{home.id}/deletion", {"confirm": home.slug})
        assert (own.status_code, own.json()["code"]) == (409, "own_tenant")
        assert post(operator, path, {"confirm": "acme", "grace_hours": 48}).status_code == 201
        again = post(operator, path, {"confirm": "acme"})
        assert (again.status_code, again.json()["code"]) == (409, "deleting")
        by_hand = operator.patch(
            f"/api/v1/tenants/{tenant.id}", json.dumps({"state": "active"}), content_type="application/json"
        )
        assert (by_hand.status_code, by_hand.json()["code"]) == (409, "deleting")

        assert operator.delete(f"/api/v1{path}").json()["state"] == "withdrawn"
        assert Tenant.objects.get(id=tenant.id).state == "active"
        assert operator.delete(f"/api/v1{path}").status_code == 404
        assert [row["state"] for row in operator.get("/api/v1/tenant-deletions").json()["results"]] == [
            "withdrawn"
        ]

    def test_what_was_suspended_is_suspended_again(self) -> None:
        operator = make_principal(is_operator=True)
        tenant = make_tenant()
        Tenant.objects.filter(id=tenant.id).update(state="suspended")
        ask_deletion(principal=operator, tenant_id=tenant.id, confirm=tenant.slug)
        withdraw_deletion(principal=operator, tenant_id=tenant.id)
        assert Tenant.objects.get(id=tenant.id).state == "suspended"

    def test_others_see_nothing_of_it(self) -> None:
        client = key_client(make_tenant(), role=Role.OWNER)
        assert client.get("/api/v1/tenant-deletions").status_code == 403
        assert client.get(f"/api/v1/tenant-deletions/{uuid.uuid4()}").status_code == 403


@pytest.fixture
async def house(transactional_db: None, tmp_path: Path) -> AsyncIterator[Path]:
    """Stores of this test's own."""
    files = replace(settings.BACKENDS["blob_store"], options={"root": str(tmp_path)})
    backends.configure({**settings.BACKENDS, "blob_store": files})
    yield tmp_path
    await backends.close()
    close_units()
    backends.configure(settings.BACKENDS)


def ask(tenant: Tenant) -> None:
    operator = make_principal(is_operator=True)
    ask_deletion(principal=operator, tenant_id=tenant.id, confirm=tenant.slug, grace_hours=0)


async def furnished(canary: str) -> Tenant:
    tenant = await run_unit(furnish_rows, canary)
    await furnish_stores(tenant.id, canary)
    return tenant


@pytest.mark.sweep
class TestCarryingOut:
    async def test_nothing_of_it_is_left_anywhere_and_others_keep_everything(self, house: Path) -> None:
        tenant, other = await furnished("canary-gone"), await furnished("canary-stays")
        before, stays = await counts_of(tenant.id), await counts_of(other.id)
        assert {name for name, count in before.items() if not count} <= {"counters"}
        planted = await run_unit(tables_with, "canary-gone")
        assert len(planted) > 20
        await run_unit(ask, tenant)

        assert await carry_out_deletions(clock=LATER, settling_s=0) == 1

        left = await run_unit(tables_with, "canary-gone")
        assert left == {}
        assert not any((await counts_of(tenant.id)).values())
        assert not [each for each in _files(house) if b"canary-gone" in _content(each)]
        now = await counts_of(other.id)
        assert now == stays
        row = await run_unit(TenantDeletion.objects.get)
        assert (row.state, row.report["left"], row.report["traces"]) == ("done", {}, {})
        assert row.report["looked_for"] > 25
        assert set(row.report["counted"]) >= {
            "knowledge.Document",
            "vectors",
            "files",
            "sessions",
            "counters",
        }
        act = await run_unit(PlatformAct.objects.filter(act="deleted", kind="tenant").get)
        assert json.loads(act.after)["traces"] == 0
        assert not await run_unit(Tenant.objects.filter(id=tenant.id).exists)
        # Whoever was in this tenant alone went with it.
        assert not await run_unit(User.objects.filter(email__contains="canary-gone").exists)

    async def test_what_an_operator_sent_to_its_addresses_is_forgotten(self, house: Path) -> None:
        tenant, other = await furnished("canary-gone"), await furnished("canary-stays")

        def send(about: Tenant) -> None:
            route = f"DELETE /api/v1/tenants/{about.id}"
            begin_once(tenant_id=other.id, key="again", route=route, body_hash="x")

        await run_unit(send, tenant)
        await run_unit(send, other)
        await run_unit(ask, tenant)
        assert await carry_out_deletions(clock=LATER, settling_s=0) == 1
        row = await run_unit(TenantDeletion.objects.get)
        assert (row.state, row.report["traces"]) == ("done", {})

        def routes() -> list[str]:
            with tenant_scope(other.id):
                return list(IdempotencyRecord.objects.values_list("route", flat=True))

        assert f"DELETE /api/v1/tenants/{other.id}" in await run_unit(routes)

    async def test_who_is_elsewhere_too_stays(self, house: Path) -> None:
        def furnish() -> tuple[Tenant, uuid.UUID]:
            person, tenant = make_user(), make_tenant()
            make_membership(tenant, person)
            make_membership(make_tenant(), person)
            return tenant, person.id

        tenant, person_id = await run_unit(furnish)
        await run_unit(ask, tenant)
        await carry_out_deletions(clock=LATER, settling_s=0)
        assert await run_unit(User.objects.filter(id=person_id).exists)

    async def test_before_it_is_due_nothing_happens(self, house: Path) -> None:
        tenant = await furnished("canary-early")
        before = await counts_of(tenant.id)
        await run_unit(_ask_for_tomorrow, tenant)
        assert await carry_out_deletions(clock=LATER, settling_s=0) == 0
        after = await counts_of(tenant.id)
        assert {**before, "substrate.TenantAct": 0} == {**after, "substrate.TenantAct": 0}

    @pytest.mark.parametrize("after", [0, 3, 11, 27])
    async def test_another_process_goes_on_where_one_died(
        self, house: Path, monkeypatch: pytest.MonkeyPatch, after: int
    ) -> None:
        """The process dies in the middle (no cleanup runs); the lease ends, and the next one carries it to the end."""
        tenant = await furnished("canary-twice")
        await run_unit(ask, tenant)
        real, calls = TableParticipant.delete_rows, 0

        def dying(self: TableParticipant, *args: Any) -> int:
            nonlocal calls
            calls += 1
            if calls > after:
                raise KeyboardInterrupt
            return real(self, *args)

        monkeypatch.setattr(TableParticipant, "delete_rows", dying)
        with pytest.raises(KeyboardInterrupt):
            await carry_out_deletions(clock=LATER, settling_s=0)
        monkeypatch.undo()

        assert await carry_out_deletions(clock=LATER, settling_s=0) == 0, (
            "the dead process still holds its lease"
        )
        much_later = FrozenClock(NOW + timedelta(hours=2))
        assert await carry_out_deletions(clock=much_later, settling_s=0) == 1
        assert await run_unit(tables_with, "canary-twice") == {}
        assert (await run_unit(TenantDeletion.objects.get)).state == "done"

    async def test_a_store_that_is_away_only_delays_it(
        self, house: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tenant = await furnished("canary-away")
        await run_unit(ask, tenant)

        async def away(self: object, tenant_id: uuid.UUID) -> None:
            raise Unavailable("The vector store is not reachable.")

        monkeypatch.setattr(EmbeddedVectorStore, "delete_tenant", away)
        assert await carry_out_deletions(clock=LATER, settling_s=0) == 0
        row = await run_unit(TenantDeletion.objects.get)
        assert (row.state, row.error) == ("erasing", "The vector store is not reachable.")
        monkeypatch.undo()

        assert await carry_out_deletions(clock=FrozenClock(NOW + timedelta(hours=2)), settling_s=0) == 1
        row = await run_unit(TenantDeletion.objects.get)
        assert (row.state, row.error) == ("done", "")

    async def test_a_trace_that_stays_is_told(self, house: Path) -> None:
        """The proof is worth something: what nobody deletes is found."""
        tenant = await furnished("canary-left")
        await run_unit(ask, tenant)

        def leave() -> None:
            User.objects.create(email="elsewhere@example.com", name=f"belongs to {tenant.id}")

        await run_unit(leave)
        await carry_out_deletions(clock=LATER, settling_s=0)
        row = await run_unit(TenantDeletion.objects.get)
        assert (row.state, row.report["traces"]) == ("incomplete", {"tenants.User": 1})


def _ask_for_tomorrow(tenant: Tenant) -> None:
    operator = make_principal(is_operator=True)
    ask_deletion(principal=operator, tenant_id=tenant.id, confirm=tenant.slug, grace_hours=24)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _content(path: Path) -> bytes:
    return str(path).encode() + path.read_bytes()
