"""A Weaviate that is not there: a clear error in time, and no hanging connections."""

import socket
import time
import uuid
from collections.abc import Iterator

import pytest

from kernel.backends import import_object
from kernel.errors import Unavailable
from knowledge.ports import VectorStore
from knowledge.types import ChunkPoint, Collection, SearchMode, VectorQuery

PLACE = Collection(uuid.UUID(int=1), "embedder", 4)
BASE = uuid.UUID(int=2)


@pytest.fixture
def silent_ports() -> Iterator[tuple[int, int]]:
    """Two ports that take connections and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        yield one.getsockname()[1], two.getsockname()[1]


def store_at(port: int, grpc_port: int) -> VectorStore:
    made: VectorStore = import_object("knowledge.adapters.weaviate_store.WeaviateVectorStore")(
        url=f"http://127.0.0.1:{port}",
        grpc_port=grpc_port,
        api_key="key",
        query_timeout_s=0.5,
        insert_timeout_s=0.5,
    )
    return made


async def ask_all(store: VectorStore) -> None:
    point = ChunkPoint(uuid.uuid4(), uuid.uuid4(), BASE, "text", [1.0, 0.0, 0.0, 0.0])
    for act in (
        lambda: store.search(PLACE, VectorQuery("text", [1.0, 0.0, 0.0, 0.0], (BASE,), 5)),
        lambda: store.search(PLACE, VectorQuery("text", None, (BASE,), 5, SearchMode.KEYWORD)),
        lambda: store.count(PLACE),
        lambda: store.upsert(PLACE, [point]),
        lambda: store.delete_document(PLACE, uuid.uuid4()),
        lambda: store.delete_tenant(PLACE.tenant_id),
    ):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await act()
        assert time.monotonic() - began < 12


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    store = store_at(*ports)
    await ask_all(store)
    await store.close()  # type: ignore[attr-defined]


async def test_somebody_listens_and_says_nothing(silent_ports: tuple[int, int]) -> None:
    store = store_at(*silent_ports)
    await ask_all(store)
    await store.close()  # type: ignore[attr-defined]
