"""`engine.embedding`: vectors made on this machine. MiniLM where its weights are installed, else hashed words.

The work runs in threads of its own, so that no stream waits for it. numpy's own threads are held at one by `config`
(`OPENBLAS_NUM_THREADS`): on a busy machine they wait for each other actively, which made this ten times slower.
"""

import asyncio
import importlib
import json
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from inference.embedders import MINILM, WEIGHTS_PACKAGE, local_embedder
from inference.hashing_vectoriser import count_words, hash_vectors
from inference.minilm import EncoderShape, MiniLM
from inference.types import (
    Chunk,
    Completion,
    Embeddings,
    EngineRequest,
    ReplicaLoad,
    ReplicaSpec,
    TokenUsage,
)
from kernel.errors import EngineRefused

log = structlog.get_logger(__name__)

MOST_TOKENS = 256
# Padded tokens of one pass through the encoder: more only costs memory.
BATCH_TOKENS = 2048
THREADS = 2

Embed = Callable[[Sequence[str]], tuple[list["array[float]"], int]]


class LocalEmbeddingEngine:
    """Loads its weights at the first call (2 s), then holds about 230 MB."""

    def __init__(self, *, threads: int = THREADS, folder: str | None = None) -> None:
        """`threads` calls at once. `folder` holds the weights; by default the installed package's, if there is one."""
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="embedding")
        self._folder = folder
        self._lock = threading.Lock()
        self._embed: Embed | None = None
        self._running = 0

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """Vectors of 384 numbers and length 1. Raises EngineRefused for token ids, whose vocabulary is unknown."""
        inputs = request.body["input"]
        if not all(isinstance(text, str) for text in inputs):
            raise EngineRefused("The built-in embedding model takes text, not token ids.", param="input")
        self._running += 1
        try:
            loop = asyncio.get_running_loop()
            vectors, tokens = await loop.run_in_executor(self._executor, self._work, inputs)
        finally:
            self._running -= 1
        return Embeddings(vectors, TokenUsage(tokens, 0))

    async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
        """It writes no text. Raises EngineRefused."""
        raise EngineRefused("The embedding model does not chat.")

    async def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """It writes no text. Raises EngineRefused."""
        raise EngineRefused("The embedding model does not chat.")
        yield Chunk([])

    async def health(self, replica: ReplicaSpec) -> None:
        """As healthy as this process."""

    async def load(self, replica: ReplicaSpec) -> ReplicaLoad:
        """How many calls are at work."""
        return ReplicaLoad(running=self._running, waiting=0, kv_usage=0.0)

    def close(self) -> None:
        """End the threads; work under way is finished."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _work(self, texts: Sequence[str]) -> tuple[list["array[float]"], int]:
        with self._lock:
            if self._embed is None:
                self._embed = _load(self._folder)
        return self._embed(texts)


def _load(folder: str | None) -> Embed:
    if folder is None and local_embedder() != MINILM:
        log.warning("lexical_embeddings", reason=f"the package {WEIGHTS_PACKAGE} is not installed")
        return _embed_by_hashing
    path = Path(folder or importlib.import_module(WEIGHTS_PACKAGE).get_model_path())
    shape = json.loads((path / "config.json").read_text())
    model = MiniLM(
        load_file(path / "model.safetensors"),
        EncoderShape(layers=shape["num_hidden_layers"], heads=shape["num_attention_heads"]),
    )
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(min(MOST_TOKENS, model.longest))
    tokenizer.no_padding()
    log.info("embedding_model_loaded", folder=str(path), dimensions=model.dimensions)
    return lambda texts: _embed_by_model(model, tokenizer, texts)


def _embed_by_model(
    model: MiniLM, tokenizer: Tokenizer, texts: Sequence[str]
) -> tuple[list["array[float]"], int]:
    tokens: list[list[int]] = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    vectors: list[Any] = [None] * len(tokens)
    for batch in _batches(tokens):
        made = model.encode([tokens[number] for number in batch])
        for number, row in zip(batch, made, strict=True):
            vectors[number] = array("f", row.tobytes())
    return vectors, sum(len(row) for row in tokens)


def _batches(tokens: Sequence[Sequence[int]]) -> list[list[int]]:
    """Numbers of texts of like length together, so that little is padded."""
    batches: list[list[int]] = []
    for number in sorted(range(len(tokens)), key=lambda each: len(tokens[each])):
        # Sorted: the text at hand is the longest of its batch.
        if not batches or (len(batches[-1]) + 1) * len(tokens[number]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(number)
    return batches


def _embed_by_hashing(texts: Sequence[str]) -> tuple[list["array[float]"], int]:
    return [array("f", row.tobytes()) for row in hash_vectors(texts)], count_words(texts)
