"""Answers that may be given again to questions like theirs: which turns are meant, what must be equal, what is near enough.
Pure.

What must be equal is one hash, the key of a shelf: the assistant as it is, what the asker may read and the state it is in, and
whatever else of the call could change the answer. Only among answers of one shelf are questions compared.
"""

import uuid
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from msgspec import Struct

from assistants.likeness import FORM, may_share_an_answer, normal_form
from assistants.types import AssistantView, Citation, Shelf, TurnRequest
from inference.types import TokenUsage
from knowledge.types import KnowledgeState

# Longer questions are hardly asked twice.
MOST_QUESTION_CHARS = 500
MOST_ANSWER_BYTES = 64 * 1024
# The nearest so many are compared by their words.
MOST_COMPARED = 8
# Fields of a call that may be there, and how two that differ in one of them are told apart: with anything else an answer is
# neither kept nor given again.
_COMPARED = frozenset(
    {"temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "frequency_penalty", "presence_penalty"}
)  # fmt: skip
_PASSED_OVER = frozenset({"model", "messages", "stream", "stream_options", "user", "metadata"})

Vector = npt.NDArray[np.float32]


class KeptQuestion(Struct, frozen=True, array_like=True):
    """A question whose answer is kept until `until` (seconds since the epoch). `vector` is of length 1, in float16."""

    text: str
    vector: bytes
    until: float


class KeptExchange(Struct, frozen=True, array_like=True):
    """An answer as it was given at `at`, and what it cites."""

    at: float
    until: float
    text: str
    finish_reason: str
    model: str
    pool: str
    replica: str
    usage: TokenUsage
    citations: tuple[Citation, ...]
    served: tuple[str, ...]


_questions = msgspec.msgpack.Decoder(KeptQuestion)
_exchanges = msgspec.msgpack.Decoder(KeptExchange)
_encoder = msgspec.msgpack.Encoder()


def question_to_keep(turn: TurnRequest, assistant: AssistantView | None, *, history: bool) -> str:
    """The question of a turn that rests on nothing but itself, the assistant and its knowledge; else nothing."""
    if assistant is None or not assistant.semantic_cache_seconds or turn.draft is not None or history:
        return ""
    if turn.knowledge_base_ids is not None or len(turn.messages) != 1:
        return ""
    message = turn.messages[0]
    content = message.get("content")
    if message.get("role") != "user" or set(message) != {"role", "content"} or not isinstance(content, str):
        return ""
    if not all(name in _PASSED_OVER or name in _COMPARED for name in turn.body):
        return ""
    return content if len(content) <= MOST_QUESTION_CHARS and normal_form(content) else ""


def shelf_of(turn: TurnRequest, assistant: AssistantView, state: KnowledgeState, embedder: str) -> Shelf:
    """Where answers to the turn's question may stand. `embedder` names the vectors that are compared."""
    principal = turn.principal
    told: list[Any] = [
        FORM,
        assistant.id,
        assistant.updated_at,
        assistant.semantic_cache_epoch,
        principal.region,
        state.bases,
        state.changes,
        embedder,
        sorted((name, value) for name, value in turn.body.items() if name in _COMPARED),
    ]
    key = blake2b(
        orjson.dumps(told), digest_size=24, person=b"atrium-alike", key=principal.tenant_id.bytes
    ).hexdigest()
    return Shelf(principal.tenant_name, str(assistant.id), key)


def name_of(question: str, tenant_id: uuid.UUID) -> str:
    """What a question is found by among those of its shelf: equal for what says the same in the same words."""
    said = normal_form(question).encode("utf-8", "replace")
    return blake2b(said, digest_size=16, key=tenant_id.bytes).hexdigest()


def unit(vector: Sequence[float]) -> Vector | None:
    """The vector with length 1; None for one that has no direction."""
    made = np.asarray(vector, dtype=np.float32)
    length = float(np.sqrt(made @ made)) if made.ndim == 1 and made.size else 0.0
    return made / np.float32(length) if np.isfinite(length) and length > 0 else None


def nearest(
    question: str, vector: Vector, known: Mapping[str, bytes], *, threshold: float, now: float
) -> tuple[str, float] | None:
    """(name, likeness) of the question most alike that is near enough and whose words do not speak against it."""
    there = []
    for name, raw in known.items():
        try:
            kept = _questions.decode(raw)
        except msgspec.DecodeError:
            continue
        if kept.until > now and len(kept.vector) == 2 * vector.size:
            there.append((name, kept))
    if not there:
        return None
    matrix = np.frombuffer(b"".join(kept.vector for _, kept in there), dtype=np.float16)
    likeness = matrix.reshape(len(there), vector.size).astype(np.float32) @ vector
    for at in np.argsort(-likeness)[:MOST_COMPARED]:
        if not likeness[at] >= threshold:
            return None
        name, kept = there[at]
        if may_share_an_answer(question, kept.text):
            return name, float(likeness[at])
    return None


def encode_question(text: str, vector: Vector | None, until: float) -> bytes:
    """A question as it is kept; without a vector it is found by its own words alone."""
    packed = vector.astype(np.float16).tobytes() if vector is not None else b""
    return _encoder.encode(KeptQuestion(text, packed, until))


def encode_exchange(exchange: KeptExchange) -> bytes | None:
    """The answer as bytes, None when it is too long to be kept."""
    raw = _encoder.encode(exchange)
    return raw if len(raw) <= MOST_ANSWER_BYTES else None


def decode_exchange(raw: bytes, *, now: float, age_s: int | None) -> KeptExchange | None:
    """The answer in `raw`; None when it is of another version, over, or older than `age_s` seconds."""
    try:
        found = _exchanges.decode(raw)
    except msgspec.DecodeError:
        return None
    if found.until <= now or (age_s is not None and now - found.at > age_s):
        return None
    return found
