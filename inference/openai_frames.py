"""The sense of OpenAI's JSON, decoded no further than needed: events into chunks, whole answers, vectors, errors.

Frames go on as the engine wrote them; only the model's name is exchanged when the engine knows it by another one.
Pure: no I/O. Raises the errors of the engine port.
"""

import base64
import math
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from inference.types import Chunk, Completion, Embeddings, TokenUsage
from kernel.errors import EngineRefused, EngineUnavailable, UpstreamFailed

DONE = b"[DONE]"
ABORTED = "abort"
_USAGE = b',"usage":{'


class _Cached(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Event(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


class _Vector(Struct):
    index: int
    embedding: str | list[float]


class _Vectors(Struct):
    data: list[_Vector]
    usage: _Usage | None = None


class _Problem(Struct):
    message: str = ""
    code: int | str | None = None
    param: str | None = None


class _Refusal(Struct):
    error: _Problem | None = None
    message: str = ""
    detail: Any = None


_event = msgspec.json.Decoder(_Event)
_vectors = msgspec.json.Decoder(_Vectors)
_refusal = msgspec.json.Decoder(_Refusal)


def _usage(usage: _Usage) -> TokenUsage:
    details = usage.prompt_tokens_details
    return TokenUsage(
        prompt_tokens=max(0, usage.prompt_tokens),
        completion_tokens=max(0, usage.completion_tokens or 0),
        cached_tokens=max(0, (details.cached_tokens or 0) if details is not None else 0),
    )


class FrameReader:
    """Turns the events of one stream into chunks. `model` is the id that the caller knows the model by.

    Frames that say nothing yet (the role alone) are kept back until the first token, so that an engine that dies or
    gives up before it can still be exchanged for another.

    A token is an event that says something. An engine that is `counted` tells in each event how many there are by now,
    if it can (a busy vLLM says several in one event): those counts are taken, and left out of the frames unless they
    are `shown`.
    """

    __slots__ = ("_counted", "_held", "_model", "_names", "_shown", "begun", "done", "finished", "tokens")

    def __init__(self, model: str, *, counted: bool = False, shown: bool = True) -> None:
        """Nothing read yet."""
        self._model = model
        self._counted = counted
        self._shown = shown
        self._held: list[bytes] = []
        self._names: tuple[tuple[bytes, bytes], ...] | None = None
        self.begun = False
        self.finished = False
        self.done = False
        self.tokens = 0

    def read(self, events: list[bytes]) -> Chunk | None:
        """The chunk of the events of one read, None when they say nothing yet.

        Raises UpstreamFailed for rubbish and for errors that the engine reports, EngineUnavailable when it gave up
        before the first token, EngineRefused.
        """
        chunk = Chunk(self._held)
        frames = chunk.frames
        texts: list[str] = []
        made = 0
        totalled = False
        for raw in events:
            if raw == DONE:
                self.done = True
                break
            try:
                event = _event.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise UpstreamFailed("The engine sent an event that is not valid JSON.") from error
            if event.error is not None:
                raise _reported(event.error)
            if event.usage is not None:
                if not event.choices:
                    chunk.usage, totalled = _usage(event.usage), True
                    continue
                if self._counted:
                    made = event.usage.completion_tokens or made
                    if not self._shown:
                        raw = _without_usage(raw)
                if not (self._counted and self.begun) or event.choices[0].finish_reason is not None:
                    self._tell(_usage(event.usage), chunk, event.choices[0])
            if self._names is None:
                self._names = _renamings(event.model, self._model)
            frames.append(self._renamed(raw) if self._names else raw)
            for choice in event.choices:
                delta = choice.delta
                if (
                    delta is not None
                    and delta.content
                    and choice.finish_reason is None
                    and delta.tool_calls is None
                ):
                    # What nearly every event is: a piece of text and nothing else.
                    texts.append(delta.content)
                    chunk.tokens += 1
                else:
                    self._take(choice, chunk, texts)
        if not self.begun and not chunk.tokens and chunk.finish_reason is None and not self.done:
            return Chunk([], usage=chunk.usage) if totalled else None
        if made:
            chunk.tokens = max(0, made - self.tokens)
        self.tokens += chunk.tokens
        self.begun = True
        self._held = []
        chunk.text = texts[0] if len(texts) == 1 else "".join(texts)
        return chunk if frames or chunk.usage is not None else None

    def _tell(self, usage: TokenUsage, chunk: Chunk, choice: _Choice) -> None:
        """Note the usage that stands beside a choice: that until then where the engine counts along."""
        if self._counted:
            chunk.prompt_tokens = usage.prompt_tokens
        if not self._counted or choice.finish_reason is not None:
            chunk.usage = usage

    def _take(self, choice: _Choice, chunk: Chunk, texts: list[str]) -> None:
        delta = choice.delta
        if delta is None:
            if choice.text:
                texts.append(choice.text)
                chunk.tokens += 1
        elif delta.content:
            texts.append(delta.content)
            chunk.tokens += 1
            if delta.tool_calls:
                chunk.opaque = True
        elif delta.tool_calls or delta.reasoning_content or delta.reasoning:
            chunk.tokens += 1
            chunk.opaque = True
        if choice.finish_reason is not None:
            self.finished = True
            chunk.finish_reason = choice.finish_reason
            if choice.finish_reason == ABORTED:
                raise self._aborted(chunk)

    def _aborted(self, chunk: Chunk) -> UpstreamFailed:
        if self.tokens or chunk.tokens:
            return UpstreamFailed("The engine stopped in the middle of its answer.")
        return EngineUnavailable("The engine is shutting down.")

    def _renamed(self, raw: bytes) -> bytes:
        for theirs, ours in self._names or ():
            if theirs in raw:
                return raw.replace(theirs, ours, 1)
        answer = orjson.loads(raw)
        answer["model"] = self._model
        return orjson.dumps(answer)


def _renamings(theirs: str | None, ours: str) -> tuple[tuple[bytes, bytes], ...]:
    """What to look for and what to put there; empty when the names are equal.

    A quotation mark inside a JSON string is always escaped, so that the pattern never matches within a text.
    """
    if theirs is None or theirs == ours:
        return ()
    old, new = orjson.dumps(theirs), orjson.dumps(ours)
    return ((b'"model":' + old, b'"model":' + new), (b'"model": ' + old, b'"model": ' + new))


def _without_usage(raw: bytes) -> bytes:
    """The event without its usage: cut off where it ends the event, as vLLM writes it.

    A quotation mark inside a JSON string is always escaped, so that the pattern never matches within a text.
    """
    start = raw.rfind(_USAGE)
    if start > 0 and raw.endswith(b"}}") and raw.rfind(b"{") == start + len(_USAGE) - 1:
        return raw[:start] + b"}"
    answer = orjson.loads(raw)
    answer.pop("usage", None)
    return orjson.dumps(answer)


def _reported(given: object) -> UpstreamFailed:
    try:
        problem = msgspec.convert(given, _Problem)
    except msgspec.ValidationError:
        return UpstreamFailed("The engine reported an error.")
    if isinstance(problem.code, int) and 400 <= problem.code < 500 and problem.code not in (408, 429):
        return refusal(problem.message, problem.code, problem.param)
    return UpstreamFailed("The engine reported an error while answering.")


def refusal(message: str, status: int, param: str | None = None) -> EngineRefused:
    """The engine's own 4xx, with the code that clients know for a prompt that is too long."""
    error = EngineRefused(message[:1000] or "The engine refused the request.", status=status, param=param)
    if "maximum context length" in message or "max_model_len" in message:
        error.code = "context_length_exceeded"
    return error


def read_refusal(raw: bytes, status: int) -> EngineRefused:
    """The error of a 4xx answer's body, in any of the shapes that engines use."""
    try:
        body = _refusal.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return refusal("", status)
    if body.error is not None:
        return refusal(body.error.message, status, body.error.param)
    detail = body.detail if isinstance(body.detail, str) else ""
    return refusal(body.message or detail, status)


def read_completion(raw: bytes, model: str) -> Completion:
    """A whole answer. Raises UpstreamFailed for rubbish, EngineUnavailable when the engine gave up at once."""
    try:
        answer = _event.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamFailed("The engine's answer is not valid JSON.") from error
    if answer.error is not None:
        raise _reported(answer.error)
    if not answer.choices:
        raise UpstreamFailed("The engine's answer holds no choice.")
    messages = [choice.message or _Delta(content=choice.text) for choice in answer.choices]
    text = "".join([message.content or "" for message in messages])
    reasons = [choice.finish_reason for choice in answer.choices if choice.finish_reason]
    called = [message for message in messages if message.tool_calls]
    if ABORTED in reasons:
        if text or called:
            raise UpstreamFailed("The engine stopped in the middle of its answer.")
        raise EngineUnavailable("The engine is shutting down.")
    if answer.usage is not None:
        usage = _usage(answer.usage)
    else:
        usage = TokenUsage(0, max(1, len(text) // 4) if text else 0, estimated=True)
    if answer.model != model:
        body = orjson.loads(raw)
        body["model"] = model
        raw = orjson.dumps(body)
    return Completion(raw, text, usage, reasons[0] if reasons else None)


def read_embeddings(raw: bytes, count: int) -> Embeddings:
    """`count` vectors in the order of their inputs. Raises UpstreamFailed for rubbish."""
    try:
        answer = _vectors.decode(raw)
        rows = sorted(answer.data, key=lambda row: row.index)
        vectors = [_vector(row.embedding) for row in rows]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise UpstreamFailed("The engine's answer holds no vectors.") from error
    if [row.index for row in rows] != list(range(count)):
        raise UpstreamFailed("The engine's answer does not hold one vector for each input.")
    if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise UpstreamFailed("The engine's vectors differ in length.")
    usage = _usage(answer.usage) if answer.usage is not None else TokenUsage(0, 0, estimated=True)
    return Embeddings(vectors, usage)


def _vector(given: str | Sequence[float]) -> "array[float]":
    if isinstance(given, str):
        vector = array("f", base64.b64decode(given, validate=True))
    else:
        vector = array("f", given)
    if not math.isfinite(sum(vector)):
        raise ValueError("a vector holds a value that is not a number")
    return vector
