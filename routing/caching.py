"""Answers that were given before: which calls may be answered by them, what they are found by, and how they are kept.
Pure.

A kept answer belongs to one tenant, and to one exact call: whatever could change the answer is part of its key, the
model and the names that its engines know it by included. Nothing else is compared, so that nobody is answered with what
was said to another question.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from inference.types import Chunk, ModelSpec, Surface, TokenUsage
from routing.choice_types import CacheUse
from routing.types import KEPT_FORM, KeptAnswer, ModelCall

# An answer that is longer is not kept.
MOST_ANSWER_BYTES = 256 * 1024
_SURFACES = frozenset({Surface.CHAT, Surface.COMPLETIONS})
# Only of answers that ended by themselves: what was cut or refused for another reason may end otherwise next time.
_WHOLE = frozenset({"stop", "length", "tool_calls", "function_call"})


_decoder = msgspec.msgpack.Decoder(KeptAnswer)
_encoder = msgspec.msgpack.Encoder()


def keep_seconds(call: ModelCall, model: ModelSpec, use: CacheUse = CacheUse.ASKED) -> int:
    """For how long the answer to `call` may be kept; 0 when it may neither be kept nor be a kept one.

    The model's operators allow it and bound the time. Without a word of the caller only calls are meant whose answer is
    the same each time: with temperature 0, or with a seed; all, or none, where the tenant says so (`use`).
    """
    wish = call.cache
    if use is CacheUse.NEVER:
        return 0
    if wish is None or not model.cache_seconds or model.built_in or call.surface not in _SURFACES:
        return 0
    if call.question or call.passages:
        return 0
    # Of several answers at once only the first's end is told: another may have been cut.
    if (call.body.get("n") or 1) != 1 or (call.body.get("best_of") or 1) != 1:
        return 0
    if wish.age_s is not None:
        return min(model.cache_seconds, wish.age_s)
    return model.cache_seconds if use is CacheUse.ALWAYS or _repeatable(call.body) else 0


def _repeatable(body: Mapping[str, Any]) -> bool:
    return body.get("temperature") == 0 or body.get("seed") is not None


def key_of(call: ModelCall, model: ModelSpec) -> str:
    """What a kept answer is found by, among those of the tenant: 64 hex characters."""
    served = model.served_names()
    # The order of fields within them may change the answer: a schema's is that in which fields are written.
    body = sorted(call.body.items())
    told = orjson.dumps([call.surface.value, call.model, model.id, served, call.stream, body])
    return blake2b(
        told, digest_size=32, person=b"atrium-answer", key=call.principal.tenant_id.bytes
    ).hexdigest()


def may_stand(given: KeptAnswer, model: ModelSpec, *, now: float) -> bool:
    """Whether an answer of `model` that was found elsewhere may still be given: its operators allow it, for so long, and
    its engines know it by the same names.
    """
    return now - given.at <= model.cache_seconds and given.served == model.served_names()


def encode(answer: KeptAnswer) -> bytes | None:
    """The answer as bytes, None when it is too long to be kept."""
    raw = _encoder.encode(answer)
    return raw if len(raw) <= MOST_ANSWER_BYTES else None


def decode(raw: bytes, *, now: float, age_s: int | None) -> KeptAnswer | None:
    """The answer in `raw`; None when it is of another version, or older than `age_s` seconds."""
    try:
        answer = _decoder.decode(raw)
    except msgspec.DecodeError:
        return None
    if answer.form != KEPT_FORM or (age_s is not None and now - answer.at > age_s):
        return None
    return answer


class StreamRecord:
    """What a stream says while it passes, as long as it may be kept."""

    __slots__ = ("_size", "finish_reason", "frames", "texts", "whole")

    def __init__(self) -> None:
        """Nothing said yet."""
        self.frames: list[bytes] = []
        self.texts: list[str] = []
        self.finish_reason = ""
        self.whole = True
        self._size = 0

    def take(self, chunk: Chunk) -> None:
        """One more chunk has passed."""
        if not self.whole:
            return
        self._size += sum(map(len, chunk.frames))
        if self._size > MOST_ANSWER_BYTES:
            self.spoil()
            return
        self.frames += chunk.frames
        self.texts.append(chunk.text)
        self.finish_reason = chunk.finish_reason or self.finish_reason

    def spoil(self) -> None:
        """It is not to be kept: too long, or pieced together."""
        self.whole = False
        self.frames, self.texts = [], []


def worth_keeping(finish_reason: str | None, usage: TokenUsage | None) -> bool:
    """Whether an answer that ended so is whole, and its tokens are known."""
    return finish_reason in _WHOLE and usage is not None and not usage.estimated
