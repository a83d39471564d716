"""Steps of an ingestion, vectors and stocks of one tenant: by no id do they reach what another one has."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone
from factories.rows import make_row
from factories.tenants import key_client, make_principal, make_tenant
from fakes.library import Library

from kernel.backends import backends
from kernel.errors import NotFound
from knowledge.adapters.embedded_archive import EmbeddedVectorArchive
from knowledge.chunking import TextChunk
from knowledge.models import Chunk, ChunkVector, Document, KnowledgeBase, RemovedDocument
from knowledge.services import bases, document_acts, ingestion, retrieve
from knowledge.services.documents import create_text_documents, upsert_documents
from knowledge.services.existing import existing_knowledge_bases
from knowledge.services.failures import failed_documents
from knowledge.services.finding import find_by_name
from knowledge.services.participation import KnowledgeParticipant
from knowledge.services.passages import list_passages
from knowledge.services.purging import ingest_again, purge_base, purge_documents
from knowledge.services.sharing import SharedBases
from knowledge.services.state import knowledge_state
from knowledge.services.stocks import KnowledgeStock
from knowledge.types import Collection, Hit, Passage, SearchMode, VectorQuery
from substrate.bridge import wait_for
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import Tenant
from tenants.services import principal_for_jobs
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db
CANARY = "canary-c3d1-of-another-tenant"
MODELS = (KnowledgeBase, Document, RemovedDocument, Chunk, ChunkVector)


@dataclass
class Shelf:
    """A tenant with a document of two versions, one removed document and a vector."""

    tenant: Tenant
    base: KnowledgeBase
    document: Document
    removed: RemovedDocument

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        with system_scope("tests", read_only=True):
            return {
                each.__name__: list(each.objects.filter(tenant_id=self.tenant.id).order_by("pk").values())
                for each in MODELS
            }


def furnish(**base: Any) -> Shelf:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        made = KnowledgeBase.objects.create(name=CANARY, **base)
        document = Document.objects.create(
            knowledge_base=made,
            title=CANARY,
            blob_key="k",
            content_hash="h",
            state="failed",
            error=CANARY,
            version=2,
            live_version=1,
            size=7,
            user_id=uuid.uuid4(),
        )
        Chunk.objects.create(document=document, text=CANARY, version=1, position=0)
        removed = make_row(RemovedDocument, tenant, knowledge_base_id=made.id)
        place = {"document_id": document.id, "knowledge_base_id": made.id, "embedder": "e", "dimensions": 4}
        make_row(ChunkVector, tenant, **place, vector=b"\0" * 16, term_counts=b"")
    assert isinstance(removed, RemovedDocument)
    return Shelf(tenant, made, document, removed)


@pytest.fixture
def mine() -> Tenant:
    return make_tenant()


@pytest.fixture
def shelf() -> Shelf:
    return furnish()


ACTS: dict[str, Callable[[Principal, Shelf], object]] = {
    "change a base": lambda who, on: bases.update_knowledge_base(
        principal=who, knowledge_base_id=on.base.id, name="mine"
    ),
    "delete a base": lambda who, on: bases.delete_knowledge_base(principal=who, knowledge_base_id=on.base.id),
    "describe a document": lambda who, on: document_acts.describe_document(
        principal=who, document_id=on.document.id, url="https://mine.test/"
    ),
    "retry a document": lambda who, on: document_acts.retry_document(
        principal=who, document_id=on.document.id
    ),
    "retry documents": lambda who, on: document_acts.retry_documents(
        principal=who, knowledge_base_id=on.base.id
    ),
    "delete a document": lambda who, on: document_acts.delete_document(
        principal=who, document_id=on.document.id
    ),
    "delete documents": lambda who, on: document_acts.delete_documents(
        principal=who, knowledge_base_id=on.base.id, document_ids=[on.document.id]
    ),
    "restore a document": lambda who, on: document_acts.restore_document(
        principal=who, document_id=on.removed.id
    ),
    "read passages": lambda who, on: list_passages(principal=who, document_id=on.document.id),
    "read a file": lambda who, on: document_acts.read_file(principal=who, document_id=on.document.id),
    "hand in documents": lambda who, on: upsert_documents(who, on.base.id, []),
    "hand in a text": lambda who, on: create_text_documents(
        principal=who, knowledge_base_id=on.base.id, documents=[]
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_base_and_a_document_of_another_tenant_are_not_there(mine: Tenant, shelf: Shelf, act: str) -> None:
    before = shelf.rows()
    with pytest.raises(NotFound):
        ACTS[act](make_principal(mine, role=Role.OWNER), shelf)
    assert shelf.rows() == before


def test_a_deleted_base_of_another_tenant_is_not_restored(mine: Tenant) -> None:
    shelf = furnish(deleted_at=timezone.now())
    before, owner = shelf.rows(), make_principal(mine, role=Role.OWNER)
    with pytest.raises(NotFound):
        bases.restore_knowledge_base(principal=owner, knowledge_base_id=shelf.base.id)
    assert shelf.rows() == before


def test_names_of_another_tenant_are_not_told(mine: Tenant, shelf: Shelf) -> None:
    owner = make_principal(mine, role=Role.OWNER)
    assert bases.name_bases(principal=owner, ids=[shelf.base.id]) == {}
    assert document_acts.name_documents(principal=owner, document_ids=[shelf.document.id]) == {}
    assert CANARY not in repr(find_by_name(principal=owner, text="canary", limit=9))
    assert bases.ensure_knowledge_base(principal=owner, name=CANARY).id != shelf.base.id


@pytest.mark.parametrize("path", ["", "/{base}/documents", "/{base}/removed-documents"])
def test_lists_hold_nothing_of_another_tenant(mine: Tenant, shelf: Shelf, path: str) -> None:
    client = key_client(mine, role=Role.OWNER)
    answer = client.get(f"/api/v1/knowledge-bases{path.format(base=shelf.base.id)}")
    assert CANARY not in answer.content.decode()
    assert answer.status_code == (404 if path else 200)


def test_no_step_of_an_ingestion_touches_a_document_of_another_tenant(mine: Tenant, shelf: Shelf) -> None:
    before, document = shelf.rows(), shelf.document.id
    assert ingestion.begin(mine.id, document, 2) is None
    fixed = {"model": "m", "embedder": "e", "dimensions": 4}
    assert ingestion.fix_embedder(mine.id, shelf.base.id, **fixed) is None
    ingestion.note_failure(mine.id, document, 2, reason="mine", code="mine")
    ingestion.note_waiting(mine.id, document, 2, code="mine")
    assert ingestion.find_again(mine.id, [document]) == frozenset()
    assert ingestion.live_version(mine.id, document) is None
    ingest_again(mine.id, document)
    assert shelf.rows() == before


def test_no_chunk_of_another_tenants_document_is_written_or_shown(mine: Tenant, shelf: Shelf) -> None:
    plan = ingestion.begin(shelf.tenant.id, shelf.document.id, 2)
    assert plan is not None
    before, foreign = shelf.rows(), replace(plan, principal=principal_for_jobs(mine.id))
    assert not ingestion.store_chunks(foreign, [TextChunk(position=0, heading="", text="mine", page=0)])
    assert not ingestion.publish(foreign, chunk_count=0, page_count=0)
    assert shelf.rows() == before


def test_nothing_of_another_tenant_is_purged(mine: Tenant) -> None:
    moment = timezone.now()
    shelf = furnish(deleted_at=moment)
    before = shelf.rows()
    assert purge_base(mine.id, shelf.base.id, moment.isoformat())
    purge_documents(mine.id, [shelf.removed.id])
    assert shelf.rows() == before


def test_vectors_of_another_tenant_are_neither_read_nor_forgotten(mine: Tenant, shelf: Shelf) -> None:
    archive, before = EmbeddedVectorArchive(), shelf.rows()
    collection = Collection(mine.id, "e", 4)
    assert list(archive.pages(collection)) == []
    archive.forget(collection, [shelf.document.id])
    assert shelf.rows() == before
    [theirs] = archive.pages(replace(collection, tenant_id=shelf.tenant.id))
    assert [each.document_id for each in theirs] == [shelf.document.id]


def test_what_fails_and_changes_is_told_of_one_tenant(mine: Tenant, shelf: Shelf) -> None:
    owner = make_principal(mine, role=Role.OWNER)
    assert failed_documents(principal=owner) == (0, [])
    assert failed_documents(principal=make_principal(shelf.tenant, role=Role.OWNER))[0] == 1
    with system_scope("tests"):
        record_change(kind="knowledge_base", object_id=shelf.base.id, tenant_id=shelf.tenant.id)
    assert knowledge_state(principal=owner, knowledge_base_ids=[shelf.base.id]).bases == ()
    assert existing_knowledge_bases(principal=owner, knowledge_base_ids=[shelf.base.id]) == frozenset()


def test_stocks_are_counted_of_the_tenants_that_were_asked_for(mine: Tenant, shelf: Shelf) -> None:
    with system_scope("tests", read_only=True):
        stock = KnowledgeStock()
        assert (stock.used_of([mine.id]), stock.used_by_each([mine.id])) == ({}, {})
        assert set(stock.used_of([shelf.tenant.id])) == {shelf.tenant.id}
        assert set(stock.used_by_each([shelf.tenant.id])) == {shelf.tenant.id}


async def files_of(tenant_id: uuid.UUID) -> list[bytes]:
    found = [each async for each in KnowledgeParticipant().export(tenant_id)]
    return [each.content for each in found if each.path.startswith("files/")]


def test_files_are_taken_out_of_one_tenant(library: Library) -> None:
    library.text(library.base(), CANARY)
    assert async_to_sync(files_of)(library.tenant.id) == [CANARY.encode()]
    assert async_to_sync(files_of)(make_tenant().id) == []


class WrongStore:
    """A vector store that answers with what belongs to another tenant."""

    def __init__(self, hit: Hit) -> None:
        self._hit = hit

    async def search(self, collection: Collection, query: VectorQuery) -> list[Hit]:
        return [self._hit]


def test_a_hit_in_another_tenants_chunk_is_no_passage(library: Library, shelf: Shelf) -> None:
    base = library.base()
    library.text(base, "The lighthouse is painted white.")
    library.work()
    with tenant_scope(shelf.tenant.id):
        chunk = Chunk.objects.get()
    hit = Hit(chunk.id, shelf.document.id, shelf.base.id, 1.0, 1.0, 1.0)
    ask = {"principal": library.principal, "knowledge_base_ids": [base.id], "query": "lighthouse"}

    async def found() -> list[list[Passage]]:
        own = backends["vector_store"]
        right = await retrieve(**ask, mode=SearchMode.KEYWORD)
        backends.replace("vector_store", WrongStore(hit))
        wrong = await retrieve(**ask, mode=SearchMode.KEYWORD, limit=3)
        backends.replace("vector_store", own)
        return [right, wrong]

    assert [len(each) for each in wait_for(found)] == [1, 0]


def test_a_base_of_another_tenant_cannot_be_shared(mine: Tenant, shelf: Shelf) -> None:
    assert SharedBases().find(tenant_id=mine.id, object_id=str(shelf.base.id)) is None
    assert SharedBases().find(tenant_id=shelf.tenant.id, object_id=str(shelf.base.id)) is not None
