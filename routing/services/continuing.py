"""A stream whose replica died in the middle goes on from another: the reader notices a pause, and the mark at the end.

Nothing is asked of a call that ends well but to remember its text. A call whose text is no whole account of where it
was (tools, grammars, several answers, reasoning) ends with an error event instead, as does one that nobody can take.
"""

import time
from collections.abc import AsyncIterator

import structlog
from msgspec.structs import replace

from inference import services as inference
from inference.types import Chunk, EngineRequest
from kernel.backends import backends
from kernel.errors import AtriumError, EngineRefused, UpstreamFailed
from kernel.hops import Fact, note_hop
from kernel.ids import another_span
from routing.continuation import Seam, continuable, continuation, ending
from routing.services.memory import RoutingMemory
from routing.services.placing import Placed, Progress, give_back, place_again
from routing.types import ModelCall

log = structlog.get_logger(__name__)

Begun = tuple[Chunk | None, AsyncIterator[Chunk]]

MOST_CONTINUATIONS = 2


class Continuing:
    """What one stream has said, so that it can be continued; made for those that may be.

    Who reads the stream appends the text of each chunk to `parts`.
    """

    __slots__ = ("_call", "_dead", "_first", "_progress", "_times", "parts", "placed")

    def __init__(self, call: ModelCall, progress: Progress, placed: Placed[Begun]) -> None:
        """`placed` is where the stream has begun."""
        self._call = call
        self._progress = progress
        self._dead: set[str] = set()
        self._times = 0
        first = placed.begun[0]
        self._first = first.frames[0] if first is not None and first.frames else None
        self.parts: list[str] = []
        self.placed = placed

    async def resume(self, error: UpstreamFailed, tokens: int) -> Begun:
        """The first chunk of the rest, and the iterator of the others, by another replica.

        `tokens` were counted until `error` ended the stream. Raises `error` when the answer cannot be continued.
        """
        began = time.perf_counter()
        dead = self.placed.replica
        self._dead.add(dead.id)
        memory: RoutingMemory = backends["routing_memory"]
        if self._times >= MOST_CONTINUATIONS or isinstance(error, EngineRefused):
            raise error
        sent = "".join(self.parts)
        self.parts[:] = [sent]
        body = continuation(self._call.surface, self._call.body, sent, tokens)
        self._times += 1
        if body is None:
            return ending(self._first, dead.model, self._call.surface, self._times), _nothing()
        try:
            await give_back(self._progress)
            self.placed = await place_again(
                self._call, inference.begin_stream, self._progress, self._request(body), frozenset(self._dead)
            )
        except AtriumError as problem:
            memory.figures.continuations_failed += 1
            note_hop("continue", began, {"from": dead.id, "outcome": problem.code})
            log.warning(
                "stream_not_continued",
                request_id=self._call.request_id,
                replica=dead.id,
                error=problem.message,
            )
            raise error from problem
        memory.figures.continuations += 1
        facts: dict[str, Fact] = {"from": dead.id, "to": self.placed.replica.id, "chars": len(sent)}
        note_hop("continue", began, facts)
        log.info("stream_continued", request_id=self._call.request_id, **facts)
        first, rest = self.placed.begun
        seam = Seam(self._first, sent, tokens, self._times)
        return (seam.join(first) if first is not None else None), _joined(seam, rest)

    def _request(self, body: dict[str, object]) -> EngineRequest:
        request = self.placed.request
        return replace(request, body=body, traceparent=another_span(request.traceparent))


def continuing(call: ModelCall, progress: Progress, placed: Placed[Begun]) -> Continuing | None:
    """What the stream needs to be continued, None when it could not be."""
    if call.copy or not continuable(call.surface, call.body, placed.replica):
        return None
    return Continuing(call, progress, placed)


async def _joined(seam: Seam, rest: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    try:
        async for chunk in rest:
            joined = seam.join(chunk)
            if joined is not None:
                yield joined
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


async def _nothing() -> AsyncIterator[Chunk]:
    nothing: tuple[Chunk, ...] = ()
    for chunk in nothing:
        yield chunk
