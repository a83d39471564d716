"""A backup brings back what was there, whatever happened since."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from factories.tenants import make_key, make_membership, make_tenant, make_user
from factories.usage import make_entry
from fakes.backups import restore, state, take, tampered
from fakes.library import Library

from assistants.models import Conversation, Message
from config.keeping.failures import KeepingBusy
from config.keeping.plan import Plan
from config.keeping.workplace import one_at_a_time
from inference.models import Replica
from inference.selectors import key_context
from inference.services import register_engine
from knowledge.models import ChunkVector, Document, KnowledgeBase
from knowledge.services import delete_document, search
from knowledge.types import DocumentState, SearchMode
from substrate.audit_keeping import let_go_all_chains
from substrate.audit_verifying import audited_tenants, verify_platform_acts, verify_tenant_acts
from substrate.changes import EVERYTHING
from substrate.crossing import system_scope
from substrate.keyring import keyring
from substrate.models import Change, Job, PlatformAct, PlatformChain
from substrate.scoping import tenant_scope
from tenants.models import ApiKey, Tenant, UsageRecord, User, Webhook, WebhookDelivery
from tenants.services import authenticate_key_now, store_usage
from tenants.types import IssuedKey

TEXTS = {
    "Fog": "The fog signal sounds three blasts every ninety seconds. Größe: 12 mètres, 灯台の霧信号.",
    "Lamp": "The lamp is changed after 2,400 hours of service. The lamp of lamps.",
    "Boat": "The boat comes on Tuesdays with oil, bread and letters.",
}
ENGINE = "http://127.0.0.1:9/v1"


def fill(library: Library) -> IssuedKey:
    """Documents, a conversation, usage, a key, an engine's secret, a second tenant."""
    base = library.base()
    for title, text in TEXTS.items():
        library.text(base, text, title=title)
    library.work()
    library.text(base, "Not yet ingested.", title="Waiting")
    with tenant_scope(library.tenant.id):
        talk = Conversation.objects.create(owner="user:1", title="Ärger \x01 with \u2028 lines")
        Message.objects.create(
            conversation=talk, owner="user:1", position=1, role="user", state="completed",
            content="big numbers", citations=[{"n": 2**70, "x": 0.1}], usage={"prompt_tokens": 3},
        )  # fmt: skip
    store_usage([make_entry(library.tenant.id, model="m") for _ in range(3)])
    make_membership(make_tenant(), make_user("second@example.org", password="a long pass phrase"))
    register_engine(pool="p", model="m", url=ENGINE, api_key="engine-secret")
    return make_key(library.tenant)


def assert_audit_is_whole(*, chains: int) -> None:
    """Every chain is whole; the platform has so many, the last of which begins with the restore."""
    found = verify_platform_acts()
    assert [chain.bad for chain in found] == [None] * chains
    last = PlatformAct.objects.filter(chain_id=found[-1].chain).order_by("seq")
    assert list(last.values_list("act", flat=True)) == ["restored"]
    tenants = audited_tenants()
    assert tenants
    assert [verify_tenant_acts(tenant_id=each).bad for each in tenants] == [None] * len(tenants)


def found(library: Library) -> list[tuple[str, float, Any, Any]]:
    """What searches find, with every score."""
    with tenant_scope(library.tenant.id, read_only=True):
        base = KnowledgeBase.objects.get().id
    hits = []
    for query in ("fog signal blasts", "lamp hours", "boat letters", "Größe mètres", "灯台"):
        for mode in SearchMode:
            passages = search(principal=library.principal, knowledge_base_id=base, query=query, mode=mode)
            hits += [(p.title, p.score, p.vector_score, p.keyword_score) for p in passages]
    return hits


def test_everything_comes_back_over_a_changed_installation(library: Library, tmp_path: Path) -> None:
    key = fill(library)
    before, hits, files = state(), found(library), {p.name: p.read_bytes() for p in library.blobs()}
    assert len(hits) > 10
    acts = PlatformAct.objects.count() + PlatformChain.objects.count()
    backup = take(tmp_path / "backup.zip")

    with tenant_scope(library.tenant.id):
        fog = Document.objects.get(title="Fog").id
        UsageRecord.objects.all().delete()
        ApiKey.objects.all().delete()
    delete_document(principal=library.principal, document_id=fog)
    library.work()
    with tenant_scope(library.tenant.id):
        base = KnowledgeBase.objects.get()
    late = library.text(base, "Written after the backup.", title="Late")  # type: ignore[arg-type]  # its id is all it takes
    library.work()
    stranger = make_tenant("after-the-backup")
    Replica.objects.all().delete()
    assert state() != before

    outcome = restore(backup)
    assert state() == before
    assert_audit_is_whole(chains=2)
    assert found(library) == hits
    assert outcome.rows == sum(len(rows) for rows in before.values()) + acts
    assert (outcome.points, outcome.resumed, outcome.indexed_anew) == (ChunkVectors.count(), 1, 0)
    assert not Tenant.objects.filter(id=stranger.id).exists()
    assert authenticate_key_now(key.key).tenant_id == library.tenant.id
    replica = Replica.objects.get(url=ENGINE)
    assert keyring().decrypt(replica.api_key, context=key_context(replica.id)) == "engine-secret"
    # What waited is ingested after all, and what only the old state had leaves its file.
    assert late.id not in {row.id for row in documents()}
    library.work()
    assert {row.state for row in documents()} == {DocumentState.READY.value}
    assert {p.name: p.read_bytes() for p in library.blobs()} == files


class ChunkVectors:
    """The embedded store's rows."""

    @staticmethod
    def count() -> int:
        with system_scope("tests", read_only=True):
            return ChunkVector.objects.count()


def documents() -> list[Document]:
    with system_scope("tests", read_only=True):
        return list(Document.objects.all())


def test_an_empty_installation_takes_a_backup_and_its_files(library: Library, tmp_path: Path) -> None:
    fill(library)
    before, hits = state(), found(library)
    backup = take(tmp_path / "backup.zip")
    with system_scope("tests"):
        let_go_all_chains()
        for tenant in Tenant.objects.all():
            tenant.delete()
        User.objects.all().delete()
    for path in library.blobs():
        path.unlink()
    outcome = restore(backup)
    assert state() == before
    assert found(library) == hits
    assert outcome.files == len(TEXTS) + 1
    restore(backup)
    assert state() == before
    assert found(library) == hits


def test_processes_hear_of_it_and_queued_work_of_the_old_state_is_gone(
    library: Library, tmp_path: Path
) -> None:
    backup = take(tmp_path / "backup.zip")
    library.text(library.base(), "never ingested")
    newest = Change.objects.order_by("-seq").first()
    restore(backup)
    kinds = [change.kind for change in Change.objects.filter(seq__gt=newest.seq if newest else 0)]
    assert EVERYTHING in kinds
    with system_scope("tests", read_only=True):
        left = [job.kind for job in Job.objects.all()]
    assert "knowledge.ingest" not in left
    assert "knowledge.delete_document" in left


def test_new_points_get_numbers_that_were_never_used(library: Library, tmp_path: Path) -> None:
    """Copies in memory are known by the numbers of their rows; a number used twice would show an old one."""
    fill(library)
    backup = take(tmp_path / "backup.zip")
    with system_scope("tests", read_only=True):
        before = set(ChunkVector.objects.values_list("id", flat=True))
    restore(backup)
    with system_scope("tests", read_only=True):
        after = set(ChunkVector.objects.values_list("id", flat=True))
    assert after
    assert min(after) > max(before)


def test_documents_of_another_embedder_are_indexed_anew(library: Library, tmp_path: Path) -> None:
    fill(library)
    backup = take(tmp_path / "backup.zip")

    def other(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        with tenant_scope(library.tenant.id, read_only=True):
            mine = KnowledgeBase.objects.get().embedder
        theirs = mine.partition(":")[0] + ":another"
        manifest["embedders"] = [theirs]
        for name in members:
            if name.startswith(("rows/knowledge.knowledgebase", "vectors/")):
                members[name] = members[name].replace(mine.encode(), theirs.encode())

    plans: list[Plan] = []
    outcome = restore(tampered(backup, tmp_path / "other.zip", other), tell=plans.append)
    assert outcome.points == 0
    assert outcome.indexed_anew == len(TEXTS)
    assert any("indexing anew" in remark for remark in plans[0].remarks)
    library.work()
    assert {row.state for row in documents()} == {DocumentState.READY.value}
    assert any(hit[0] == "Fog" for hit in found(library))


def test_files_that_were_deleted_meanwhile_are_named(library: Library, tmp_path: Path) -> None:
    fill(library)
    gone = library.blobs()[0]
    gone.unlink()
    backup = take(tmp_path / "backup.zip")
    outcome = restore(backup)
    assert outcome.missing_files == 1
    assert any("deleted while it was taken" in remark for remark in outcome.remarks)


def test_only_one_backup_or_restore_at_a_time(library: Library, tmp_path: Path) -> None:
    backup = take(tmp_path / "backup.zip")
    with one_at_a_time():
        with pytest.raises(KeepingBusy, match="under way"):
            take(tmp_path / "second.zip")
        with pytest.raises(KeepingBusy, match="under way"):
            restore(backup)
    assert not (tmp_path / "second.zip").exists()
    assert restore(backup).rows > 0


def test_a_backup_is_of_one_moment_while_others_write(library: Library, tmp_path: Path) -> None:
    """What is written after the snapshot is not in it: neither rows nor what refers to them."""
    fill(library)
    moment = datetime.now(UTC)
    backup = take(tmp_path / "backup.zip")
    make_tenant("too-late")
    restore(backup)
    assert not Tenant.objects.filter(slug="too-late").exists()
    assert Tenant.objects.filter(created_at__gt=moment).count() == 0


def test_restored_webhooks_have_no_job_and_tell_nobody_of_what_waited(
    library: Library, tmp_path: Path
) -> None:
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    with tenant_scope(library.tenant.id):
        hook = Webhook.objects.create(
            name="ops", url="https://hooks.example.com/in", secret="v1:", hint="whsec_", run_at=at
        )
        WebhookDelivery.objects.create(webhook=hook, event="document.failed", body="{}", next_at=at)
    restore(take(tmp_path / "backup.zip"))
    with tenant_scope(library.tenant.id, read_only=True):
        assert Webhook.objects.get().run_at is None
        delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.outcome, delivery.finished_at is None) == ("failed", "restored", False)
