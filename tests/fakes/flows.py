"""Fakes of what stands behind the gateway: a scripted model, and the bundle of doors around it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from assistants.types import Citation
from gateway.doors import Doors
from inference.types import Chunk, Completion, Embeddings, ModelKind, ModelSpec, Tier, TokenUsage
from kernel.errors import AtriumError, NotSignedIn, PermissionDenied
from routing.types import ModelCall, RoutingDecision
from tenants.types import Principal, PriorityClass, Role

DECISION = RoutingDecision(model="tiny", pool="gpu", replica="r1", queue_ms=2.5, attempts=1)
USAGE = TokenUsage(prompt_tokens=7, completion_tokens=3, cached_tokens=2)


def frame(text: str, finish_reason: str | None = None) -> bytes:
    """One chat chunk as an engine writes it."""
    return orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "served",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}],
        }
    )


def usual_chunks() -> list[Chunk]:
    """A short answer in three reads: two frames, one frame, the finish with the usage."""
    return [
        Chunk([frame("Hel"), frame("lo")], text="Hello", tokens=2),
        Chunk([frame(" you")], text=" you", tokens=1),
        Chunk([frame("", "stop")], usage=USAGE, finish_reason="stop"),
    ]


@dataclass
class FakeFlow:
    """An answer that plays `script`: chunks are yielded, numbers slept, exceptions raised."""

    script: Sequence[Chunk | float | Exception]
    citations: Sequence[Citation] = ()
    conversation_id: uuid.UUID | None = None
    decision: RoutingDecision = DECISION

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The script, played."""
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Chunk):
                yield step
            else:
                await asyncio.sleep(step)

    async def completion(self) -> Completion:
        """The whole answer; plays the script's pauses and errors first."""
        text = "".join([chunk.text async for chunk in self.chunks()])
        body = {
            "id": "chatcmpl-1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
        }
        return Completion(orjson.dumps(body), text, USAGE, "stop")


@dataclass
class FakeDoors:
    """A tenant with one key behind every door; keeps what it was asked, and how each call ended."""

    script: Sequence[Chunk | float | Exception] = field(default_factory=usual_chunks)
    citations: Sequence[Citation] = ()
    vectors: Sequence[Sequence[float]] = ((0.5, -1.0), (0.25, 2.0))
    principal: Principal = field(
        default_factory=lambda: Principal(
            tenant_id=uuid.UUID(int=7),
            tenant_slug="acme",
            role=Role.MEMBER,
            api_key_prefix="test",
            priority_cap=PriorityClass.STANDARD,
        )
    )
    refused: frozenset[str] = frozenset()
    fails: Exception | None = None
    calls: list[ModelCall] = field(default_factory=list)
    turns: list[Any] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    rights_ended: asyncio.Event = field(default_factory=asyncio.Event)
    known_key: str = "atr_test"

    def doors(self) -> Doors:
        """The bundle that the gateway takes."""
        return Doors(
            authenticate=self._authenticate,
            require=self._require,
            until_refused=self._until_refused,
            dispatch=self._dispatch,
            embed=self._embed,
            answer=self._answer,
            list_models=self._list_models,
            list_assistants=self._list_assistants,
            refuse_key_in_address=self._refuse_key_in_address,
        )

    async def _refuse_key_in_address(self, query: bytes) -> None:
        if self.known_key.encode() in query:
            raise NotSignedIn

    async def _authenticate(self, key: str) -> Principal:
        if key != self.known_key:
            raise NotSignedIn
        return self.principal

    async def _until_refused(
        self, principal: Principal, again: Callable[[], Awaitable[Principal]]
    ) -> AtriumError:
        await self.rights_ended.wait()
        try:
            await again()
        except AtriumError as refusal:
            return refusal
        return PermissionDenied()

    def _require(self, principal: Principal, permission: str) -> None:
        if permission in self.refused:
            raise PermissionDenied

    @asynccontextmanager
    async def _played(self) -> AsyncIterator[FakeFlow]:
        if self.fails is not None:
            raise self.fails
        try:
            yield FakeFlow(self.script, self.citations)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        except BaseException:
            self.ends.append("failed")
            raise
        self.ends.append("completed")

    def _dispatch(self, call: ModelCall) -> Any:
        self.calls.append(call)
        return self._played()

    def _answer(self, turn: Any) -> Any:
        self.turns.append(turn)
        return self._played()

    async def _embed(self, call: ModelCall) -> tuple[Embeddings, RoutingDecision]:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails
        return Embeddings(self.vectors, TokenUsage(5, 0)), DECISION

    def _list_models(self, principal: Principal) -> tuple[ModelSpec, ...]:
        return (
            ModelSpec("org/tiny", ModelKind.CHAT, Tier.LIGHT, 1024, 0, 0, False, 5, ()),
            ModelSpec("atrium-embedding", ModelKind.EMBEDDING, Tier.LIGHT, 0, 0, 0, True, 5, ()),
        )

    async def _list_assistants(self, principal: Principal) -> Sequence[Any]:
        return [ListedAssistant("guide")]


@dataclass(frozen=True)
class ListedAssistant:
    """An assistant as the list of models needs it."""

    slug: str
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
