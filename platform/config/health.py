"""`/health/live` and `/health/ready`.

Ready means: a model call with a known key can be served. Parts that are away but not needed for that are listed as
degraded.
"""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from config.static import Receive, Scope, Send
from kernel.backends import backends
from kernel.errors import AtriumError
from kernel.ids import uuid7
from knowledge.ports import VectorStore
from knowledge.types import Collection
from routing.ports import Scheduler
from routing.services import usable_models
from substrate.units import run_unit

log = structlog.get_logger(__name__)
PATIENCE_S = 2.0


async def health(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/health/live` and `/health/ready`."""
    if scope["path"].rstrip("/") == "/health/live":
        await _answer(send, 200, {"status": "ok"})
        return
    if scope["path"].rstrip("/") != "/health/ready":
        await _answer(send, 404, {"status": "unknown"})
        return
    reasons = (
        []
        if any(model.replicas or model.asleep for model in usable_models())
        else ["no model has a replica in service"]
    )
    checks = {"database": _database, "scheduler": _scheduler, "vector_store": _vector_store}
    outcomes = await asyncio.gather(*(_probe(name, check) for name, check in checks.items()))
    away = [name for name, ok in zip(checks, outcomes, strict=True) if not ok]
    if reasons:
        await _answer(send, 503, {"status": "unavailable", "reasons": reasons, "degraded": away})
    else:
        await _answer(send, 200, {"status": "degraded" if away else "ok", "degraded": away})


async def _probe(name: str, check: Callable[[], Awaitable[object]]) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await check()
    except (TimeoutError, AtriumError, DatabaseError, OSError) as error:
        log.warning("part_away", part=name, error=str(error) or type(error).__name__)
        return False
    return True


async def _database() -> None:
    await run_unit(_select_one)


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def _scheduler() -> None:
    scheduler: Scheduler = backends["scheduler"]
    await scheduler.snapshot("health")


async def _vector_store() -> None:
    if settings.ATRIUM.profile != "full":
        return
    store: VectorStore = backends["vector_store"]
    await store.count(Collection(uuid7(), settings.EMBEDDING_MODEL, 0))


async def _answer(send: Send, status: int, body: dict[str, object]) -> None:
    content = orjson.dumps(body)
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
