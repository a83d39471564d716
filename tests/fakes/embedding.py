"""An embedding engine for tests: quick, deterministic, and broken on demand."""

import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from inference.types import (
    Chunk,
    Completion,
    Embeddings,
    EngineRequest,
    ReplicaLoad,
    ReplicaSpec,
    TokenUsage,
)
from kernel.errors import EngineUnavailable

DIMENSIONS = 64


@dataclass
class Trouble:
    """What the engine does instead of working: the error of the next calls, and how many it has answered."""

    errors: list[Exception] = field(default_factory=list)
    answered: int = 0
    dimensions: int = DIMENSIONS


class FakeEmbeddingEngine:
    """Words hashed into 64 numbers: texts that share words are near each other."""

    def __init__(self, *, trouble: Trouble) -> None:
        """`trouble` is shared with the test."""
        self._trouble = trouble

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """One vector for each text, or the next error."""
        if self._trouble.errors:
            raise self._trouble.errors.pop(0)
        self._trouble.answered += 1
        texts: Sequence[str] = request.body["input"]
        return Embeddings([self._vector(text) for text in texts], TokenUsage(sum(map(len, texts)) // 4, 0))

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self._trouble.dimensions
        for word in text.lower().split():
            vector[zlib.crc32(word.strip(".,?!").encode()) % self._trouble.dimensions] += 1.0
        norm = sum(number * number for number in vector) ** 0.5 or 1.0
        return [number / norm for number in vector]

    async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
        """It only embeds."""
        raise EngineUnavailable

    def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """It only embeds."""
        raise EngineUnavailable

    async def health(self, replica: ReplicaSpec) -> None:
        """Always well."""

    async def load(self, replica: ReplicaSpec) -> ReplicaLoad:
        """Always idle."""
        return ReplicaLoad(0, 0, 0.0)
