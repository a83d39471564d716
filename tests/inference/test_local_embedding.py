"""Vectors made on this machine: the forward pass with tiny weights, the real ones where installed, hashed words."""

import asyncio
import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from fakes.engines import replica_spec
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from inference.adapters.local_embedding import LocalEmbeddingEngine
from inference.embedders import DIMENSIONS, MINILM, local_embedder
from inference.hashing_vectoriser import hash_vectors
from inference.minilm import EncoderShape, MiniLM
from inference.types import Embeddings, EngineRequest, Surface
from kernel.errors import EngineRefused

WIDTH, INNER, LAYERS, HEADS, WORDS, PLACES = 8, 16, 2, 2, 12, 16


def tiny_weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)

    def made(*shape: int) -> np.ndarray:
        return random.normal(scale=0.5, size=shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": made(WORDS, WIDTH),
        "embeddings.position_embeddings.weight": made(PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": made(2, WIDTH),
        "embeddings.LayerNorm.weight": made(WIDTH),
        "embeddings.LayerNorm.bias": made(WIDTH),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            weights[f"{name}.attention.{part}.weight"] = made(WIDTH, WIDTH)
            weights[f"{name}.attention.{part}.bias"] = made(WIDTH)
        weights[f"{name}.intermediate.dense.weight"] = made(INNER, WIDTH)
        weights[f"{name}.intermediate.dense.bias"] = made(INNER)
        weights[f"{name}.output.dense.weight"] = made(WIDTH, INNER)
        weights[f"{name}.output.dense.bias"] = made(WIDTH)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            weights[f"{name}.{part}.weight"] = made(WIDTH)
            weights[f"{name}.{part}.bias"] = made(WIDTH)
    return weights


def slow_reference(weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """The same encoder written out head by head, token by token, in double precision."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}

    def norm(values: np.ndarray, name: str) -> np.ndarray:
        mean = values.mean(-1, keepdims=True)
        spread = np.sqrt(values.var(-1, keepdims=True) + 1e-12)
        return (values - mean) / spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(values: np.ndarray, name: str) -> np.ndarray:
        return values @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    erf = np.vectorize(__import__("math").erf)
    x = norm(
        w["embeddings.word_embeddings.weight"][ids]
        + w["embeddings.position_embeddings.weight"][: len(ids)]
        + w["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm",
    )
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        q, k, v = (linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        mixed = np.zeros_like(x)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for row in range(len(ids)):
                scores = np.array([q[row, part] @ k[other, part] for other in range(len(ids))]) / np.sqrt(
                    size
                )
                chances = np.exp(scores) / np.exp(scores).sum()
                mixed[row, part] = sum(chance * v[other, part] for other, chance in enumerate(chances))
        x = norm(x + linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = linear(x, f"{name}.intermediate.dense")
        inner = 0.5 * inner * (1 + erf(inner / np.sqrt(2)))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_the_forward_pass_equals_one_written_out() -> None:
    weights = tiny_weights()
    model = MiniLM(weights, EncoderShape(LAYERS, HEADS))
    texts = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11]]
    vectors = model.encode(texts)
    for row, ids in zip(vectors, texts, strict=True):
        assert np.abs(row - slow_reference(weights, ids)).max() < 2e-5


def request(*inputs: object) -> EngineRequest:
    return EngineRequest(Surface.EMBEDDINGS, {"input": list(inputs)}, uuid.UUID(int=1), "r")


def embed(engine: LocalEmbeddingEngine, *inputs: object) -> Embeddings:
    return asyncio.run(engine.embed(replica_spec(), request(*inputs)))


def test_the_adapter_keeps_the_order_of_texts_of_all_lengths(tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, **{f"w{number}": number for number in range(1, WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    save_file(tiny_weights(), tmp_path / "model.safetensors")
    shape = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    (tmp_path / "config.json").write_text(json.dumps(shape))
    engine = LocalEmbeddingEngine(folder=str(tmp_path))
    texts = [" ".join(f"w{1 + (start + step) % 11}" for step in range(length)) for start, length in
             enumerate([5, 1, 16, 2, 40, 7, 3])]  # fmt: skip
    together = embed(engine, *texts)
    for text, vector in zip(texts, together.vectors, strict=True):
        assert list(embed(engine, text).vectors[0]) == pytest.approx(list(vector), abs=1e-5)
    # 16 places: the text of 40 words is cut.
    assert together.usage.prompt_tokens == 5 + 1 + 16 + 2 + 16 + 7 + 3
    with pytest.raises(EngineRefused):
        embed(engine, [1, 2, 3])
    engine.close()


@pytest.mark.skipif(local_embedder() != MINILM, reason="the weights' package is not installed")
def test_the_real_weights_know_what_belongs_together() -> None:
    engine = LocalEmbeddingEngine()
    vectors = np.array(
        embed(
            engine,
            "How do I reset my password?",
            "Changing a forgotten login secret",
            "The volcano erupted at dawn over the island.",
        ).vectors
    )
    assert vectors.shape == (3, DIMENSIONS)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.4
    assert far < 0.2
    engine.close()


def test_hashed_words_are_near_when_they_are_shared() -> None:
    vectors = hash_vectors(
        [
            "The quarterly invoice is due",
            "Invoices of the quarter",
            "A cat sleeps",
            "",
            "the QUARTERLY invoice is due",
        ]
    )
    assert vectors.shape == (5, DIMENSIONS)
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths == pytest.approx([1, 1, 1, 0, 1], abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.3 > vectors[0] @ vectors[2]
    assert vectors[0] == pytest.approx(vectors[4])
