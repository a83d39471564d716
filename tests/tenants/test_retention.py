"""Retention: rules, their preview, and the deletion of what is older: of this tenant, of no other, and no more."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from factories.rows import make_row
from factories.tenants import key_client, make_tenant
from fakes.clocks import FrozenClock

from assistants.models import Conversation, Message
from knowledge.models import Chunk, Document, KnowledgeBase
from substrate.audit import acts_of_tenant
from substrate.models import Change, Job
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit
from tenants.models import RequestTrace, RetentionRule, Tenant, UsageRecord
from tenants.services import retention
from tenants.services.retention import keep_retention_once
from tenants.types import Role, TenantState

NOW = datetime.now(UTC).replace(microsecond=0)
RULES = {"conversations_days": 30, "files_days": 90, "requests_days": 7}


def aged(model: type[Model], tenant: Tenant, days: float, field: str = "updated_at", **given: Any) -> Any:
    """A row of `model` that is `days` old."""
    with tenant_scope(tenant.id):
        row = make_row(model, tenant, **given)
        type(row)._default_manager.filter(pk=row.pk).update(**{field: NOW - timedelta(days=days)})
    return row


def rule(tenant: Tenant, **days: int) -> None:
    with tenant_scope(tenant.id):
        RetentionRule.objects.create(tenant=tenant, **days)


def left(model: Any, tenant: Tenant) -> set[uuid.UUID]:
    with tenant_scope(tenant.id, read_only=True):
        return set(model.objects.values_list("id", flat=True))


def put(client: Client, body: object, **headers: str) -> Any:
    return client.put("/api/v1/retention", json.dumps(body), content_type="application/json", headers=headers)


def preview(client: Client, body: object) -> Any:
    return client.post("/api/v1/retention/preview", json.dumps(body), content_type="application/json")


@pytest.mark.django_db
class TestRules:
    def test_everything_is_kept_until_somebody_says_otherwise(self) -> None:
        body = key_client(make_tenant(), role=Role.ADMIN).get("/api/v1/retention").json()

        assert body == {
            "conversations_days": None,
            "files_days": None,
            "requests_days": None,
            "requests_ceiling_days": 14,
            "updated_at": None,
            "version": "0",
        }

    def test_rules_are_set_recorded_and_told(self) -> None:
        tenant = make_tenant()
        client = key_client(tenant, role=Role.OWNER)

        made = put(client, RULES, **{"If-Match": '"0"'})

        assert made.status_code == 200
        assert made.json() | RULES == made.json()
        assert made["ETag"] == f'"{made.json()["version"]}"'
        assert client.get("/api/v1/retention/").json() == made.json()
        act = acts_of_tenant(tenant_id=tenant.id, limit=1)[0]
        assert (act.act, act.kind) == ("changed", "retention")
        assert act.label == "conversations: 30 days, files: 90 days, requests: 7 days"
        assert Change.objects.filter(kind="retention", tenant_id=tenant.id).exists()

    def test_a_rule_can_be_taken_back(self) -> None:
        client = key_client(make_tenant(), role=Role.OWNER)
        put(client, RULES)

        assert put(client, RULES | {"files_days": None}).json()["files_days"] is None

    def test_the_second_of_two_editors_is_told(self) -> None:
        client = key_client(make_tenant(), role=Role.OWNER)
        seen = put(client, RULES, **{"If-Match": '"0"'}).json()["version"]
        put(client, RULES | {"files_days": 5}, **{"If-Match": f'"{seen}"'})

        for stale in (seen, "0", "abc"):
            refused = put(client, RULES, **{"If-Match": f'"{stale}"'})
            assert (refused.status_code, refused.json()["code"]) == (412, "version_conflict")
        assert client.get("/api/v1/retention").json()["files_days"] == 5

    @pytest.mark.parametrize(
        "bad",
        [
            {"files_days": 0},
            {"files_days": -1},
            {"files_days": 3651},
            {"files_days": 10**30},
            {"files_days": "soon"},
            {"files_days": 1.5},
            {"files_days": True},
            {"requests_days": 15},
            {"usage_days": 3},
        ],
        ids=str,
    )
    def test_wrong_days_are_refused_by_name(self, bad: dict[str, Any]) -> None:
        client = key_client(make_tenant(), role=Role.OWNER)

        for refused in (put(client, RULES | bad), preview(client, RULES | bad)):
            assert refused.status_code == 400
            assert set(refused.json()["errors"]) == set(bad)

    def test_every_kind_must_be_named(self) -> None:
        refused = put(key_client(make_tenant(), role=Role.OWNER), {})

        assert set(refused.json()["errors"]) == set(RULES)

    def test_roles(self) -> None:
        tenant = make_tenant()
        statuses = {}
        for role in Role:
            client = key_client(tenant, role=role)
            got = client.get("/api/v1/retention").status_code
            statuses[role] = (got, put(client, RULES).status_code, preview(client, RULES).status_code)

        assert statuses == {
            Role.OWNER: (200, 200, 200),
            Role.ADMIN: (200, 403, 403),
            Role.MEMBER: (403, 403, 403),
            Role.VIEWER: (403, 403, 403),
        }
        assert Client().get("/api/v1/retention").status_code == 401


@pytest.mark.django_db
def test_the_preview_counts_what_would_go_and_deletes_nothing() -> None:
    tenant, other = make_tenant(), make_tenant()
    oldest = aged(Conversation, tenant, 40)
    aged(Conversation, tenant, 31)
    aged(Conversation, tenant, 29)
    aged(Conversation, other, 99)
    aged(RequestTrace, tenant, 8, "started_at")
    aged(Document, tenant, 1)

    body = preview(key_client(tenant, role=Role.OWNER), RULES | {"files_days": None}).json()

    conversations, files, requests = body["results"]
    assert (conversations["kind"], conversations["count"], conversations["total"]) == ("conversations", 2, 3)
    assert datetime.fromisoformat(conversations["oldest"]) == NOW - timedelta(days=40)
    assert files == {"kind": "files", "count": 0, "total": 1, "oldest": None}
    assert (requests["kind"], requests["count"], requests["total"]) == ("requests", 1, 1)
    assert oldest.id in left(Conversation, tenant)


@pytest.mark.django_db(transaction=True)
class TestKeeping:
    @pytest.fixture(autouse=True)
    def _units(self) -> Iterator[None]:
        yield
        close_units()

    async def test_what_is_older_goes_and_nothing_else(self) -> None:
        tenant, other, young = await run_unit(self._furnish)

        deleted = await keep_retention_once(clock=FrozenClock(NOW))

        assert deleted == {"conversations": 2, "files": 1, "requests": 1}
        assert await run_unit(left, Conversation, tenant) == {young.id}
        assert await run_unit(left, Message, tenant) == set()
        assert await run_unit(left, RequestTrace, tenant) == set()
        # The ledger is never shortened, and who made no rule keeps everything.
        assert len(await run_unit(left, UsageRecord, tenant)) == 1
        assert len(await run_unit(left, Conversation, other)) == 1

    @staticmethod
    def _furnish() -> tuple[Tenant, Tenant, Any]:
        tenant, other = make_tenant(), make_tenant()
        rule(tenant, **RULES)
        old = aged(Conversation, tenant, 31)
        aged(Message, tenant, 31, conversation=old, state="completed")
        aged(Conversation, tenant, 400)
        young = aged(Conversation, tenant, 29)
        aged(Document, tenant, 91)
        aged(RequestTrace, tenant, 8, "started_at")
        aged(UsageRecord, tenant, 5000, "started_at")
        aged(Conversation, other, 400)
        return tenant, other, young

    async def test_files_go_with_chunks_at_once_and_with_vectors_and_content_by_a_job(self) -> None:
        def furnish() -> tuple[Tenant, Any]:
            tenant = make_tenant()
            rule(tenant, files_days=90)
            with tenant_scope(tenant.id):
                base = make_row(KnowledgeBase, tenant, embedder="e", dimensions=3)
            document = aged(Document, tenant, 91, knowledge_base=base, blob_key="t/old")
            aged(Chunk, tenant, 91, document=document)
            return tenant, document

        def jobs(tenant: Tenant) -> list[dict[str, Any]]:
            with tenant_scope(tenant.id, read_only=True):
                return list(
                    Job.objects.filter(kind="knowledge.delete_document").values_list("payload", flat=True)
                )

        tenant, document = await run_unit(furnish)

        assert (await keep_retention_once(clock=FrozenClock(NOW)))["files"] == 1
        assert await run_unit(left, Document, tenant) == await run_unit(left, Chunk, tenant) == set()
        expected = {"documents": [str(document.id)], "blob_keys": ["t/old"], "embedder": "e", "dimensions": 3}
        assert await run_unit(jobs, tenant) == [expected]

    async def test_many_go_in_bounded_batches_each_with_its_record(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def furnish() -> Tenant:
            tenant = make_tenant()
            rule(tenant, conversations_days=30)
            for _ in range(7):
                aged(Conversation, tenant, 31)
            return tenant

        monkeypatch.setattr(retention, "BATCH", 3)
        tenant = await run_unit(furnish)

        assert (await keep_retention_once(clock=FrozenClock(NOW)))["conversations"] == 7
        acts = await run_unit(acts_of_tenant, tenant_id=tenant.id, limit=9)
        assert [(act.act, act.kind, act.actor_kind) for act in acts] == [
            ("deleted", "retention", "system")
        ] * 3
        assert acts[0].label == f"1 conversations older than {NOW - timedelta(days=30):%Y-%m-%d}"

    async def test_an_answer_that_is_being_written_keeps_its_conversation(self) -> None:
        def furnish() -> Tenant:
            tenant = make_tenant()
            rule(tenant, conversations_days=30)
            conversation = aged(Conversation, tenant, 31)
            with tenant_scope(tenant.id):
                make_row(Message, tenant, conversation=conversation, state="running")
            return tenant

        tenant = await run_unit(furnish)

        assert (await keep_retention_once(clock=FrozenClock(NOW)))["conversations"] == 0
        assert len(await run_unit(left, Conversation, tenant)) == 1

    async def test_nothing_of_a_suspended_tenant_is_deleted(self) -> None:
        def furnish() -> None:
            tenant = make_tenant(state=TenantState.SUSPENDED)
            rule(tenant, conversations_days=30)
            aged(Conversation, tenant, 31)

        await run_unit(furnish)

        assert (await keep_retention_once(clock=FrozenClock(NOW)))["conversations"] == 0
