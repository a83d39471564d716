"""Fakes around routing: an engine in this process that follows a script, a spool that remembers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson

from inference.types import (
    Chunk,
    Completion,
    Embeddings,
    EngineRequest,
    ModelKind,
    ModelSpec,
    ReplicaLoad,
    ReplicaSpec,
    Tier,
    TokenUsage,
)
from kernel.errors import EngineUnavailable, Unavailable, UpstreamFailed
from tenants.types import SpoolEntry, TraceEntry, UsageEntry


@dataclass
class Act:
    """What one call meets: an error at once, or `words` words with an error after `dies_after` of them."""

    error: Exception | None = None
    words: int = 3
    dies_after: int | None = None
    gap_s: float = 0.0
    first_s: float = 0.0
    usage: bool = True


@dataclass
class ScriptedEngine:
    """Engines by replica id: the next act of the replica's script, else `usual`."""

    usual: Act = field(default_factory=Act)
    scripts: dict[str, deque[Act]] = field(default_factory=dict)
    calls: list[tuple[str, EngineRequest]] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    most_running: dict[str, int] = field(default_factory=dict)
    cancelled: int = 0
    down: set[str] = field(default_factory=set)

    def script(self, replica: str, *acts: Act) -> None:
        """How the next calls of `replica` go."""
        self.scripts.setdefault(replica, deque()).extend(acts)

    def _begin(self, replica: ReplicaSpec, request: EngineRequest) -> Act:
        self.calls.append((replica.id, request))
        now = self.running.get(replica.id, 0) + 1
        self.running[replica.id] = now
        self.most_running[replica.id] = max(now, self.most_running.get(replica.id, 0))
        script = self.scripts.get(replica.id)
        return script.popleft() if script else self.usual

    async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
        """The words at once."""
        act = self._begin(replica, request)
        try:
            await asyncio.sleep(act.first_s)
            if act.error is not None:
                raise act.error
            text = "w " * act.words
            return Completion(orjson.dumps({"model": replica.model}), text, TokenUsage(7, act.words), "stop")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running[replica.id] -= 1

    async def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """The words one by one."""
        act = self._begin(replica, request)
        ended = False
        try:
            await asyncio.sleep(act.first_s)
            if act.error is not None:
                ended = True
                raise act.error
            for number in range(act.words):
                if act.dies_after == number:
                    ended = True
                    raise UpstreamFailed("died in the middle")
                yield Chunk([b"{}"], text="w ", tokens=1)
                if act.gap_s:
                    await asyncio.sleep(act.gap_s)
            usage = TokenUsage(7, act.words) if act.usage else None
            yield Chunk([b"{}"], usage=usage, finish_reason="stop")
            ended = True
        finally:
            self.cancelled += not ended
            self.running[replica.id] -= 1

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """Vectors of two numbers."""
        act = self._begin(replica, request)
        try:
            if act.error is not None:
                raise act.error
            return Embeddings([[1.0, 0.0] for _ in request.body["input"]], TokenUsage(4, 0))
        finally:
            self.running[replica.id] -= 1

    async def health(self, replica: ReplicaSpec) -> None:
        """Well, unless it is among those that are down."""
        if replica.id in self.down:
            raise EngineUnavailable

    async def load(self, replica: ReplicaSpec) -> ReplicaLoad:
        """How many calls run."""
        return ReplicaLoad(self.running.get(replica.id, 0), 0, 0.0)


@dataclass
class RememberingSpool:
    """A usage spool in memory that keeps all but the ways of requests; `failing` refuses everything, `slow_s` takes its time."""

    entries: list[UsageEntry] = field(default_factory=list)
    failing: bool = False
    slow_s: float = 0.0

    async def append(self, entry: SpoolEntry) -> None:
        """Remember, unless it is the way of a request."""
        await asyncio.sleep(self.slow_s)
        if self.failing:
            raise Unavailable
        if not isinstance(entry, TraceEntry) and entry.record_id not in {
            each.record_id for each in self.entries
        }:
            self.entries.append(entry)


def replica_spec(id: str = "r1", **fields: object) -> ReplicaSpec:
    """A replica of the model `tiny` in the pool `gpu`, served by the backend `engine.scripted`."""
    values: dict[str, object] = {
        "pool": "gpu",
        "model": "tiny",
        "engine": "scripted",
        "url": f"http://{id}.invalid/v1",
        "served_name": "tiny",
        "max_concurrency": 4,
    }
    return ReplicaSpec(id=id, **{**values, **fields})  # type: ignore[arg-type]


def model_spec(id: str = "tiny", *replicas: ReplicaSpec, **fields: object) -> ModelSpec:
    """A light chat model that costs 2 nano-units a prompt token and 3 a completion token."""
    values: dict[str, object] = {
        "kind": ModelKind.CHAT,
        "tier": Tier.LIGHT,
        "context_length": 0,
        "input_price_nano": 2,
        "output_price_nano": 3,
        "built_in": False,
        "created": 1,
        "replicas": replicas,
    }
    return ModelSpec(id=id, **{**values, **fields})  # type: ignore[arg-type]
