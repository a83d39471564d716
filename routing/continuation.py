"""An answer that broke off, continued by another replica: what it is asked, and how the two parts are joined. Pure.

The other replica is given the text that was sent as the beginning of its own answer (`continue_final_message` of vLLM's
chat; a completion's prompt simply grows). What was sent ends in the middle of anything, often in white space, which
chat templates strip and which tokenizers put in front of the next word: so the engine is given the text without it,
says it again or does not, and the seam drops what the reader already has.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from inference.types import Chunk, ReplicaSpec, Surface, TokenUsage

# Fields under which text that was sent is no whole account of the state an answer was in: a grammar, several answers,
# probabilities of each token, a prompt that is said again.
GRAMMARS = (
    "response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
    "guided_decoding_backend", "logprobs", "top_logprobs", "prompt_logprobs", "return_token_ids", "use_beam_search",
    "suffix", "audio", "modalities",
)  # fmt: skip
_PLAIN_TOOL_CHOICES = (None, "auto", "none")
_PLAIN_FORMATS = (None, {"type": "text"})
_LENGTHS = ("max_tokens", "max_completion_tokens")


def continuable(surface: Surface, body: Mapping[str, Any], replica: ReplicaSpec) -> bool:
    """Whether an answer to `body` that breaks off on `replica` could be continued from its text."""
    if not replica.url or (body.get("n") or 1) > 1 or (body.get("best_of") or 1) > 1 or body.get("echo"):
        return False
    for name in GRAMMARS:
        if body.get(name) and not (name == "response_format" and body[name] in _PLAIN_FORMATS):
            return False
    if surface is Surface.COMPLETIONS:
        return isinstance(body.get("prompt"), str)
    if surface is not Surface.CHAT or not replica.vllm:
        return False
    choice = body.get("tool_choice")
    return isinstance(choice, str | None) and choice in _PLAIN_TOOL_CHOICES


def continuation(surface: Surface, body: Mapping[str, Any], sent: str, tokens: int) -> dict[str, Any] | None:
    """The body that asks for the rest after `sent`, of `tokens` tokens; None when no token of its length is left."""
    asked = dict(body)
    for name in _LENGTHS:
        most = asked.get(name)
        if most is not None:
            if most <= tokens:
                return None
            asked[name] = most - tokens
    least = asked.get("min_tokens")
    if least:
        asked["min_tokens"] = max(0, least - tokens)
    said = sent.rstrip()
    if not said:
        return asked
    if surface is Surface.COMPLETIONS:
        asked["prompt"] = asked["prompt"] + said
        return asked
    messages = list(asked["messages"])
    begun = messages[-1] if asked.get("continue_final_message") and messages else None
    if begun is not None and isinstance(begun.get("content"), str):
        messages[-1] = {**begun, "content": begun["content"] + said}
    else:
        messages.append({"role": "assistant", "content": said})
    asked["messages"] = messages
    asked["continue_final_message"] = True
    asked["add_generation_prompt"] = False
    return asked


class Seam:
    """Joins a continuation to what was sent before it. `times` is how often the answer has been continued by now."""

    __slots__ = ("_created", "_id", "_overlap", "_times", "_tokens")

    def __init__(self, first: bytes | None, sent: str, tokens: int, times: int) -> None:
        """`first` is an event of the answer's beginning, which gives all of it its id; `tokens` were sent before."""
        event = _object(first)
        self._id = event.get("id")
        self._created = event.get("created")
        self._overlap = sent[len(sent.rstrip()) :]
        self._tokens = tokens
        self._times = times

    def join(self, chunk: Chunk) -> Chunk | None:
        """The chunk as a part of the one answer; None when it says nothing that was not sent."""
        frames: list[bytes] = []
        texts: list[str] = []
        for raw in chunk.frames:
            event = _object(raw)
            choices = event.get("choices") or []
            if self._fit(choices, texts):
                for name, value in (("id", self._id), ("created", self._created)):
                    if value is not None:
                        event[name] = value
                if any(choice.get("finish_reason") for choice in choices):
                    event["continued"] = self._times
                frames.append(orjson.dumps(event))
        usage = self._whole(chunk.usage) if chunk.usage is not None else None
        if not frames and usage is None:
            return None
        return Chunk(frames, "".join(texts), chunk.tokens, usage, chunk.finish_reason, chunk.opaque)

    def _fit(self, choices: list[dict[str, Any]], texts: list[str]) -> bool:
        """Cut from the choices what was sent before; whether anything is left to be told."""
        worth = False
        for choice in choices:
            delta = choice.get("delta")
            holder, name = (choice, "text") if delta is None else (delta, "content")
            holder.pop("role", None)
            text = holder.get(name)
            if text:
                holder[name] = text = self._cut(text)
                texts.append(text)
            rest = any(value for key, value in holder.items() if key not in ("index", "text", "content"))
            worth = worth or bool(text) or bool(choice.get("finish_reason")) or (delta is not None and rest)
        return worth

    def _cut(self, text: str) -> str:
        """`text` without the white space at its beginning that the reader has already."""
        overlap = self._overlap
        if not overlap:
            return text
        length = 0
        for ours, theirs in zip(overlap, text, strict=False):
            if ours != theirs:
                break
            length += 1
        # What did not match, or all of it, is done with; what the text was too short for may still come.
        self._overlap = overlap[length:] if length == len(text) else ""
        return text[length:]

    def _whole(self, usage: TokenUsage) -> TokenUsage:
        """The usage of the whole answer: its prompt once, both parts of what was said."""
        return TokenUsage(
            prompt_tokens=max(0, usage.prompt_tokens - self._tokens),
            completion_tokens=usage.completion_tokens + self._tokens,
            cached_tokens=max(0, min(usage.cached_tokens, usage.prompt_tokens - self._tokens)),
            estimated=True,
        )


def ending(first: bytes | None, model: str, surface: Surface, times: int) -> Chunk:
    """The end of an answer that broke off when all the tokens that were asked for had been said."""
    event = _object(first)
    chat = surface is Surface.CHAT
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
    choice["delta" if chat else "text"] = {} if chat else ""
    made = {
        "id": event.get("id", "chatcmpl-0"),
        "object": event.get("object", "chat.completion.chunk" if chat else "text_completion"),
        "created": event.get("created", 0),
        "model": model,
        "choices": [choice],
        "continued": times,
    }
    return Chunk([orjson.dumps(made)], finish_reason="length")


def _object(raw: bytes | None) -> dict[str, Any]:
    """The event; empty where it is none."""
    try:
        event = msgspec.json.decode(raw) if raw else {}
    except msgspec.DecodeError:
        return {}
    return event if isinstance(event, dict) else {}
