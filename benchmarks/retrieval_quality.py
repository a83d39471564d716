"""Retrieval quality on the whole Cranfield collection: nDCG@10, recall@50 and latency of every mode.

`PYTHONPATH=tests .venv/bin/python benchmarks/retrieval_quality.py [--weaviate]`, with ATRIUM_HOME naming a scratch
folder that was migrated. Prints one JSON object.
"""

import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Before numpy is loaded: its threads wait for each other actively.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import django

# Models may be imported only once Django is set up.
django.setup()

from factories.tenants import make_tenant  # noqa: E402
from fakes.cranfield import BASE, Cranfield, ndcg, pieces_of, ranked_documents, read_cranfield, recall  # noqa: E402

from inference.types import EngineRequest, ReplicaSpec, Surface  # noqa: E402
from kernel.backends import import_object  # noqa: E402
from knowledge.types import ChunkPoint, Collection, SearchMode, VectorQuery  # noqa: E402

DIMENSIONS = 384
BATCH = 32
RUNS = (
    ("keyword", SearchMode.KEYWORD, 0.5),
    ("vector", SearchMode.VECTOR, 0.5),
    ("hybrid 0.3", SearchMode.HYBRID, 0.3),
    ("hybrid 0.5", SearchMode.HYBRID, 0.5),
    ("hybrid 0.7", SearchMode.HYBRID, 0.7),
)


async def _embed(texts: list[str]) -> list[Any]:
    engine = import_object("inference.adapters.local_embedding.LocalEmbeddingEngine")()
    replica = ReplicaSpec("r", "p", "atrium-embedding", "embedding", "", "atrium-embedding", 1)
    vectors: list[Any] = []
    for start in range(0, len(texts), BATCH):
        body = {"input": texts[start : start + BATCH]}
        request = EngineRequest(Surface.EMBEDDINGS, body, uuid.uuid4(), "bench")
        vectors += (await engine.embed(replica, request)).vectors
    return vectors


def _store(weaviate: bool) -> Any:
    if not weaviate:
        return import_object("knowledge.adapters.embedded_store.EmbeddedVectorStore")()
    return import_object("knowledge.adapters.weaviate_store.WeaviateVectorStore")(
        url=os.environ["ATRIUM_TEST_WEAVIATE_URL"],
        grpc_port=int(os.environ["ATRIUM_TEST_WEAVIATE_GRPC_PORT"]),
        api_key=os.environ["ATRIUM_TEST_WEAVIATE_API_KEY"],
    )


async def _measure(store: Any, tenant_id: uuid.UUID, cranfield: Cranfield) -> dict[str, Any]:
    place = Collection(tenant_id, "cranfield-bench", DIMENSIONS)
    pieces = pieces_of(cranfield, list(cranfield.documents))
    began = time.perf_counter()
    vectors = await _embed([piece.text for piece in pieces])
    embedded_s = time.perf_counter() - began
    points = [
        ChunkPoint(piece.chunk_id, piece.document_id, BASE, piece.text, vector)
        for piece, vector in zip(pieces, vectors, strict=True)
    ]
    began = time.perf_counter()
    for start in range(0, len(points), 256):
        await store.upsert(place, points[start : start + 256])
    report: dict[str, Any] = {
        "chunks": len(points),
        "embed_s": round(embedded_s, 1),
        "index_s": round(time.perf_counter() - began, 2),
    }
    questions = {number: text for number, text in cranfield.questions.items() if number in cranfield.relevant}
    asked = dict(zip(questions, await _embed(list(questions.values())), strict=True))
    for name, mode, alpha in RUNS:
        report[name] = await _run(store, place, cranfield, questions, asked, mode, alpha)
    await store.delete_tenant(tenant_id)
    return report


async def _run(
    store: Any,
    place: Collection,
    cranfield: Cranfield,
    questions: dict[int, str],
    asked: dict[int, Any],
    mode: SearchMode,
    alpha: float,
) -> dict[str, float]:
    gains, recalls, took = [], [], []
    for number, text in questions.items():
        began = time.perf_counter()
        hits = await store.search(place, VectorQuery(text, asked[number], (BASE,), 100, mode, alpha))
        took.append((time.perf_counter() - began) * 1000)
        order = ranked_documents([hit.document_id for hit in hits])
        gains.append(ndcg(order, cranfield.relevant[number]))
        recalls.append(recall(order, cranfield.relevant[number], at=50))
    return {
        "ndcg@10": round(statistics.mean(gains), 4),
        "recall@50": round(statistics.mean(recalls), 4),
        "p50_ms": round(statistics.median(took), 2),
        "p95_ms": round(sorted(took)[int(len(took) * 0.95)], 2),
    }


def main() -> None:
    """Measure and print."""
    tenant_id = make_tenant(f"bench-{uuid.uuid4().hex[:8]}").id
    store = _store("--weaviate" in sys.argv)
    print(json.dumps(asyncio.run(_measure(store, tenant_id, read_cranfield())), indent=2))


if __name__ == "__main__":
    main()
