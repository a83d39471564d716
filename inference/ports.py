"""Ports of inference."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Protocol

from inference.fleets import Fleet
from inference.sources import ReplicaSource, Roster
from inference.types import (
    Chunk,
    Completion,
    Embeddings,
    EngineReport,
    EngineRequest,
    ModelKind,
    ReplicaLoad,
    ReplicaSpec,
)
from tenants.types import PriorityClass


class InferenceEngine(Protocol):
    """One attempt on one replica. Errors: EngineUnavailable (try another), EngineRefused (do not), UpstreamFailed.

    Cancelling the call, or closing the stream, stops the engine's work within a second.
    """

    async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
        """The whole answer."""
        ...

    def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """The answer as it is made. The last chunk, or one before it, has the usage."""
        ...

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """Vectors for `request.body["input"]`, a list of strings (or of token-id lists)."""
        ...

    async def health(self, replica: ReplicaSpec) -> None:
        """Return when the replica can serve; raises EngineUnavailable when it cannot."""
        ...

    async def load(self, replica: ReplicaSpec) -> ReplicaLoad:
        """What the replica says of its load. Raises EngineUnavailable."""
        ...


class EngineExaminer(Protocol):
    """Looks at an address that may be an engine, before it is registered."""

    async def examine(self, url: str, api_key: str, kind: ModelKind | None) -> EngineReport:
        """What answers at the base URL `url`, within half a minute. Never raises for what it finds there."""
        ...


class Scaler(Protocol):
    """Starts and stops the engines of pools. Errors: Unavailable (ask again later), UpstreamFailed."""

    async def observe(self, pool: str) -> Fleet | None:
        """The engines of the pool that were asked for and have not ended; None when it does not look after the pool."""
        ...

    async def scale(self, pool: str, desired: int, leaving: Sequence[str]) -> None:
        """See to it that there are `desired` engines; when some must go, those at the URLs of `leaving` first.

        It returns when that is under way; asking again for the same changes nothing.
        """
        ...


class Discovery(Protocol):
    """Says where the engines of a pool are. Errors: Unavailable, UpstreamFailed; whoever follows begins again later."""

    def follow(self, source: ReplicaSource) -> AsyncGenerator[Roster, None]:
        """Everybody who is there: at once, and again whenever that was asked or told anew. It has no end of its own."""
        ...


class SightingBoard(Protocol):
    """Where processes tell one another what they see of replicas."""

    async def exchange(self, told: bytes) -> Sequence[bytes]:
        """Put `told` in place of what this process told before (nothing: leave it), and read what the others did.

        Only who told something within the last ten seconds is heard. Raises Unavailable.
        """
        ...


class PoolLoad(Protocol):
    """How busy a pool is."""

    @property
    def running(self) -> Mapping[str, int]:
        """Slots held, by replica id."""
        ...

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        ...

    @property
    def waiting_by_class(self) -> Mapping[PriorityClass, int]:
        """The same by their class; nothing where the scheduler does not tell."""
        ...

    @property
    def in_flight(self) -> Mapping[str, int]:
        """Uncached prompt tokens that are being read, by replica id."""
        ...


class SlotBook(Protocol):
    """The side of the scheduler that tells; who hands the slots out is a floor higher."""

    async def snapshot(self, pool: str) -> PoolLoad:
        """How busy the pool is now."""
        ...
