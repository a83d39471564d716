"""Ports of inference."""

from collections.abc import AsyncIterator
from typing import Protocol

from inference.types import Chunk, Completion, Embeddings, EngineRequest, ReplicaLoad, ReplicaSpec


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
