"""A light model first, a heavy one when it is not sure of its answer: which calls, how sure, and what is shown of it. Pure.

How sure a model is of what it says is the geometric mean of the probabilities of the first tokens it chose: exp of their
mean log-probability (Gupta et al., "Language Model Cascades: Token-level uncertainty and beyond", 2024, with the mean in
place of a learned quantile). It is asked of the engine for this alone, and taken out of the answer before it is shown.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

from inference.types import Chunk, Completion, ModelSpec, Surface, Tier
from routing.choice_types import Cascade
from routing.choosing import By, Choice
from routing.continuation import GRAMMARS
from routing.eligibility import Available, Candidate, one_answer, reachable
from routing.shares import Threshold

# One token that could be nothing does not decide for all: vLLM writes -9999 for a probability of 0.
LEAST_LOGPROB = -10.0
# How unsure answers are as long as nobody has measured the tenant's: supposed, and few, for each model means something
# else by it.
DOUBTS_SUPPOSED = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
# Steps of the choice that a cascade may follow: who names a model, or has a rule for it, has decided already.
_FOLLOWED = frozenset({By.ORDER, By.COMPLEXITY})
_LOGPROBS = frozenset({"logprobs", "top_logprobs"})


class Ladder(Struct, frozen=True):
    """The candidates of a call that is answered in two steps: `light` ones of one model, then the `rest`, heavy ones first."""

    light: Sequence[Candidate]
    rest: Sequence[Candidate]
    rule: Cascade

    @property
    def heavy(self) -> ModelSpec:
        """The model that is asked second."""
        return self.rest[0].model


def ladder_of(
    rule: Cascade | None,
    choice: Choice,
    candidates: Sequence[Candidate],
    surface: Surface,
    body: Mapping[str, Any],
    available: Available,
) -> Ladder | None:
    """How a call is answered in two steps, None when in one.

    One: where the tenant has no such rule, the caller or another rule chose the model, the first model is not a light one of
    vLLM, no heavy one can be reached, or how sure an answer is cannot be told from its beginning (`measurable`).
    """
    if rule is None or choice.by not in _FOLLOWED or not candidates or not measurable(surface, body):
        return None
    first = candidates[0].model
    if first.tier is not Tier.LIGHT or first.built_in:
        return None
    light = [each for each in candidates if each.model.id == first.id]
    if not all(replica.vllm and replica.url for each in light for replica in each.replicas):
        return None
    heavy = [
        each for each in candidates if each.model.tier is Tier.HEAVY and reachable(each.model, available)
    ]
    if not heavy:
        return None
    others = [each for each in candidates if each.model.tier is Tier.HEAVY and each not in heavy]
    return Ladder(light, [*heavy, *light, *others], rule)


def measurable(surface: Surface, body: Mapping[str, Any]) -> bool:
    """Whether the beginning of an answer tells how sure the model is: one answer, of free text, without tools."""
    if not one_answer(surface, body) or body.get("tools") or body.get("functions"):
        return False
    return not any(
        body.get(name) and body[name] != {"type": "text"} for name in GRAMMARS if name not in _LOGPROBS
    )


def asks_itself(body: Mapping[str, Any]) -> bool:
    """Whether the caller wants the probabilities of tokens: then they are left in."""
    wanted = body.get("logprobs")
    return wanted is not None and wanted is not False


def asking(surface: Surface, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body that also asks how probable each chosen token was."""
    if asks_itself(body):
        return body
    return {**body, "logprobs": True if surface is Surface.CHAT else 0}


class Measured:
    """How sure an answer is, as far as it was read. `most` tokens count."""

    __slots__ = ("_most", "_sum", "count")

    def __init__(self, most: int) -> None:
        """Nothing read yet."""
        self._most = most
        self._sum = 0.0
        self.count = 0

    def take(self, raw: Iterable[bytes]) -> None:
        """Read events, or a whole answer."""
        for each in raw:
            for value in _logprobs(each):
                if self.full:
                    return
                self._sum += max(LEAST_LOGPROB, min(0.0, value))
                self.count += 1

    @property
    def full(self) -> bool:
        """Whether enough was read."""
        return self.count >= self._most

    @property
    def confidence(self) -> float | None:
        """From 0 to 1; None where no probability was told."""
        return math.exp(self._sum / self.count) if self.count else None


def unsure_at(rule: Cascade, threshold: Threshold | None) -> float:
    """Below which confidence the heavy model is asked; `threshold` is of doubts (1 - confidence)."""
    return 1 - threshold.score if threshold is not None else rule.below_percent / 100


def _logprobs(raw: bytes) -> list[float]:
    """The log-probabilities of the tokens of the first choice."""
    try:
        event = orjson.loads(raw)
        choice = event["choices"][0]
        told = choice.get("logprobs") or {}
        values = (
            [each["logprob"] for each in told["content"] or ()]
            if "content" in told
            else told.get("token_logprobs") or ()
        )
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
        return []
    return [float(each) for each in values if isinstance(each, int | float) and not math.isnan(each)]


def without_logprobs(raw: bytes) -> bytes:
    """An event or a whole answer as it would be if nobody had asked for probabilities."""
    if b'"logprobs"' not in raw:
        return raw
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw
    changed = False
    choices = event.get("choices") if isinstance(event, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("logprobs") is not None:
            choice["logprobs"] = None
            changed = True
    return orjson.dumps(event) if changed else raw


def stripped(chunk: Chunk) -> Chunk:
    """The chunk without probabilities."""
    chunk.frames = [without_logprobs(frame) for frame in chunk.frames]
    return chunk


def stripped_completion(answer: Completion) -> Completion:
    """The whole answer without probabilities."""
    return Completion(without_logprobs(answer.body), answer.text, answer.usage, answer.finish_reason)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks that were held, as one."""
    whole = Chunk([])
    for chunk in chunks:
        whole.frames += chunk.frames
        whole.tokens += chunk.tokens
        whole.usage = chunk.usage or whole.usage
        whole.finish_reason = chunk.finish_reason or whole.finish_reason
        whole.opaque = whole.opaque or chunk.opaque
    whole.text = "".join([chunk.text for chunk in chunks])
    return whole
