"""Knowledge on PostgreSQL: the embedded store over tsvector, and the whole ingestion behind row-level security."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from factories.tenants import make_principal, make_tenant
from fakes.library import Library
from fakes.postgresql import EMBEDDED_STORE, fresh_database, library_on_postgresql
from fakes.vector_store_contract import (
    collect,
    test_a_search_sees_every_finished_write,
    test_a_tenant_that_stored_nothing_finds_nothing,
    test_a_tenant_that_was_removed_may_come_back,
    test_alpha_moves_the_weight_between_the_legs,
    test_deleting_a_document_or_its_older_versions,
    test_each_leg_finds_its_own_and_hybrid_finds_both,
    test_identical_documents_of_two_tenants_never_meet,
    test_knowledge_bases_and_documents_narrow_a_search,
    test_limit_and_order,
    test_no_text_of_a_query_is_syntax,
    test_same_ids_replace,
    test_words_of_any_script_are_found,
)

from kernel.backends import import_object
from kernel.errors import NotFound
from knowledge.ports import VectorStore
from knowledge.services import delete_document, search
from knowledge.types import DocumentState, SearchFilters, SearchMode

__all__ = [
    "collect",
    "test_a_search_sees_every_finished_write",
    "test_a_tenant_that_stored_nothing_finds_nothing",
    "test_a_tenant_that_was_removed_may_come_back",
    "test_alpha_moves_the_weight_between_the_legs",
    "test_deleting_a_document_or_its_older_versions",
    "test_each_leg_finds_its_own_and_hybrid_finds_both",
    "test_identical_documents_of_two_tenants_never_meet",
    "test_knowledge_bases_and_documents_narrow_a_search",
    "test_limit_and_order",
    "test_no_text_of_a_query_is_syntax",
    "test_same_ids_replace",
    "test_words_of_any_script_are_found",
]

pytestmark = pytest.mark.services
FOG = "The fog signal of the lighthouse sounds three blasts every ninety seconds."
LAMP = "The lamp is changed after 2400 hours of service by the keeper on duty."


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture
def store() -> VectorStore:
    made: VectorStore = import_object(EMBEDDED_STORE)()
    return made


@pytest.fixture
def tenant_ids() -> tuple[uuid.UUID, uuid.UUID]:
    return make_tenant(f"t{uuid.uuid4().hex[:12]}").id, make_tenant(f"t{uuid.uuid4().hex[:12]}").id


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with library_on_postgresql(tmp_path) as made:
        yield made


def test_the_index_is_there() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'knowledge_keywords'")
        assert "gin" in cursor.fetchone()[0].lower()


def test_ingestion_search_replacement_and_removal(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG, external_id="a", metadata={"year": 1901})
    library.text(base, LAMP)
    assert library.work() == 2
    assert library.document(document).state is DocumentState.READY
    for mode in SearchMode:
        hits = search(principal=library.principal, knowledge_base_id=base.id, query="fog signal", mode=mode)
        assert FOG in hits[0].text
    narrowed = search(
        principal=library.principal,
        knowledge_base_id=base.id,
        query="lamp",
        filters=SearchFilters(metadata={"year": 1901}),
    )
    assert {hit.document_id for hit in narrowed} == {document.id}
    library.text(base, "Entirely different words.", external_id="a")
    library.work()
    assert (
        search(principal=library.principal, knowledge_base_id=base.id, query="fog", mode=SearchMode.KEYWORD)
        == []
    )
    delete_document(principal=library.principal, document_id=document.id)
    library.work()
    assert len(library.blobs()) == 1


def test_a_stranger_finds_nothing(library: Library) -> None:
    base = library.base()
    library.text(base, FOG)
    library.work()
    stranger = make_principal(make_tenant(f"t{uuid.uuid4().hex[:12]}"))
    with pytest.raises(NotFound):
        search(principal=stranger, knowledge_base_id=base.id, query="fog")
