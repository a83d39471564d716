"""One attempt on one replica; health learns from each."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

import structlog

from inference.ports import InferenceEngine
from inference.services.lookup import directory
from inference.types import Chunk, Completion, Embeddings, EngineRequest, ReplicaSpec
from inference.vitals import Vital
from kernel.backends import backends
from kernel.errors import EngineUnavailable, UpstreamFailed

log = structlog.get_logger(__name__)

# The code of an EngineUnavailable that only says "full": the replica is healthy.
FULL = "engine_full"


def _engine(replica: ReplicaSpec) -> InferenceEngine:
    engine: InferenceEngine = backends[f"engine.{replica.engine}"]
    return engine


async def complete(replica: ReplicaSpec, request: EngineRequest) -> Completion:
    """The whole answer. Raises EngineUnavailable (another replica may do), EngineRefused, UpstreamFailed."""
    models = directory()
    try:
        with _patience(models.vitals.of(replica.id)):
            completion = await _engine(replica).complete(replica, request)
    except EngineUnavailable as error:
        _failed(replica, request, error)
        raise
    models.health.attempt_succeeded(replica.id)
    return completion


async def begin_stream(
    replica: ReplicaSpec, request: EngineRequest
) -> tuple[Chunk | None, AsyncIterator[Chunk]]:
    """The first chunk (None when the answer is empty) and the iterator of the others.

    Raises as `complete`. The caller closes the iterator, and tells of a death in the middle by `note_broken_stream`.
    """
    models = directory()
    chunks = _engine(replica).stream(replica, request)
    try:
        with _patience(models.vitals.of(replica.id)):
            first = await anext(chunks, None)
    except EngineUnavailable as error:
        _failed(replica, request, error)
        raise
    models.health.attempt_succeeded(replica.id)
    return first, chunks


async def stream(replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
    """The answer as it is made. Raises as `complete`, at the first chunk or in the middle."""
    first, chunks = await begin_stream(replica, request)
    if first is None:
        return
    yield first
    try:
        async for chunk in chunks:
            yield chunk
    except UpstreamFailed as error:
        note_broken_stream(replica, request, error)
        raise


async def embed(replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
    """One vector for each entry of `body["input"]`. Raises as `complete`."""
    models = directory()
    try:
        with _patience(models.vitals.of(replica.id)):
            embeddings = await _engine(replica).embed(replica, request)
    except EngineUnavailable as error:
        _failed(replica, request, error)
        raise
    models.health.attempt_succeeded(replica.id)
    return embeddings


def note_broken_stream(replica: ReplicaSpec, request: EngineRequest, error: UpstreamFailed) -> None:
    """A stream of the replica died in the middle."""
    _failed(replica, request, error)


class _patience:
    """Waits for the block as long as nobody says that the replica hangs; then raises EngineUnavailable."""

    __slots__ = ("_task", "_vital")

    def __init__(self, vital: Vital) -> None:
        self._vital = vital
        self._task = asyncio.current_task()

    def __enter__(self) -> None:
        if self._task is not None:
            self._vital.waiting.add(self._task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, vital = self._task, self._vital
        if task is None:
            return
        vital.waiting.discard(task)
        if task in vital.given_up:
            vital.given_up.discard(task)
            # Cancelled by others too, it goes on being cancelled.
            if not task.uncancel() and isinstance(error, asyncio.CancelledError):
                raise EngineUnavailable("The engine gives no token.") from error


def _failed(replica: ReplicaSpec, request: EngineRequest, error: UpstreamFailed) -> None:
    log.warning(
        "attempt_failed",
        request_id=request.request_id,
        replica=replica.id,
        url=replica.url,
        model=replica.model,
        error=error.message,
    )
    if error.code != FULL and directory().health.attempt_failed(replica.id, error.message):
        directory().vitals.of(replica.id).restarted()
        log.warning("replica_out", replica=replica.id, url=replica.url, reason="attempts failed")
