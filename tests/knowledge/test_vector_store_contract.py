"""The contract of VectorStore on the embedded store and on Weaviate."""

import os
import uuid
from collections.abc import AsyncIterator

import pytest
from factories.tenants import make_tenant
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
from knowledge.ports import VectorStore

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

WEAVIATE_URL = os.environ.get("ATRIUM_TEST_WEAVIATE_URL", "")
pytestmark = pytest.mark.django_db(transaction=True)

EMBEDDED = "knowledge.adapters.embedded_store.EmbeddedVectorStore"
WEAVIATE = "knowledge.adapters.weaviate_store.WeaviateVectorStore"
needs_weaviate = pytest.mark.skipif(not WEAVIATE_URL, reason="ATRIUM_TEST_WEAVIATE_URL is not set")


@pytest.fixture(params=["embedded", pytest.param("weaviate", marks=[needs_weaviate, pytest.mark.services])])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[VectorStore]:
    if request.param == "embedded":
        yield import_object(EMBEDDED)()
        return
    made = import_object(WEAVIATE)(
        url=WEAVIATE_URL,
        grpc_port=int(os.environ["ATRIUM_TEST_WEAVIATE_GRPC_PORT"]),
        api_key=os.environ["ATRIUM_TEST_WEAVIATE_API_KEY"],
    )
    yield made
    await made.close()


@pytest.fixture
def tenant_ids(db: None) -> tuple[uuid.UUID, uuid.UUID]:
    return make_tenant().id, make_tenant().id
