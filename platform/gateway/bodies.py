"""Request bodies: the fields Atrium knows are checked, all others pass through to the engine unchanged.

Taken out on the way: Atrium's own extensions (`priority`, `conversation_id`, `knowledge_base_ids`, `metadata`) and
the fields that control the engine for other tenants too (`STRIPPED`). Headers of the client never reach an engine.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import orjson
from msgspec import Meta, Struct

from kernel.errors import BadInput
from tenants.types import Principal, PriorityClass

B = TypeVar("B", bound=Struct)

STRIPPED = frozenset({"cache_salt", "kv_transfer_params", "vllm_xargs"})
_TAKEN = STRIPPED | {"priority", "metadata"}
_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
# Only an estimate of the prompt's length may rest on it; the engine counts for itself.
CHARS_PER_TOKEN = 4

Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]


class Message(Struct):
    """One message of a chat. `content` is text, or parts as OpenAI defines them."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(Struct):
    """`stream_options`: whether the last event carries the usage."""

    include_usage: bool | None = None


class Extensions(Struct, kw_only=True):
    """What every model call may carry beside OpenAI's own fields, and the fields all routes share."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    priority: str | int | float | None = None
    metadata: dict[str, Any] | None = None
    user: str | None = None


class SamplingBody(Extensions, kw_only=True):
    """The fields that chat and completions share."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None


class ChatBody(SamplingBody, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    tools: list[dict[str, Any]] | None = None
    response_format: dict[str, Any] | None = None
    conversation_id: Text | None = None
    knowledge_base_ids: list[Text] | None = None


class CompletionBody(SamplingBody, kw_only=True):
    """The body of `/v1/completions`."""

    prompt: str | list[str | int | list[int]]


class EmbeddingBody(Extensions, kw_only=True):
    """The body of `/v1/embeddings`."""

    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class ChatRequest(Struct, frozen=True):
    """A checked chat request. `body` is what goes to the engine; `prompt_chars` is the length of the messages' text."""

    known: ChatBody
    body: dict[str, Any]
    prompt_chars: int
    max_tokens: int
    priority: PriorityClass


def parse_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises BadInput."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The request body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise BadInput("The request body must be a JSON object.")
    return body


def check(body: dict[str, Any], shape: type[B]) -> B:
    """The known fields of `body`. Raises BadInput that names the offending field."""
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        text = str(error)
        at = _AT.search(text)
        path = at.group("path") if at else ""
        missing = _MISSING.search(text)
        if missing:
            path = f"{path}.{missing.group('name')}" if path else missing.group("name")
        raise BadInput(text[: at.start()] if at else text, param=path or None) from error


def choose_priority(asked: str | float | None, principal: Principal) -> PriorityClass:
    """The class the caller asked for, no more urgent than its cap. A number (vLLM's own field) is ignored."""
    wanted = PriorityClass.STANDARD
    if isinstance(asked, str):
        try:
            wanted = PriorityClass(asked)
        except ValueError as error:
            raise BadInput(f"`priority` is one of {', '.join(PriorityClass)}.", param="priority") from error
    return wanted.clamped(principal.priority_cap)


def strip(body: dict[str, Any], *extensions: str) -> dict[str, Any]:
    """Take the engine's control fields and Atrium's own `extensions` out of `body`; returns it."""
    for name in _TAKEN.intersection(body):
        del body[name]
    for name in extensions:
        body.pop(name, None)
    return body


def read_chat(raw: bytes, principal: Principal) -> ChatRequest:
    """A checked chat request. Raises BadInput."""
    body = parse_json(raw)
    known = check(body, ChatBody)
    chars = 0
    for index, message in enumerate(known.messages):
        content = message.content
        if isinstance(content, str):
            chars += len(content)
        elif content is not None:
            chars += sum(len(text) for part in content if isinstance(text := part.get("text"), str))
        elif message.role != "assistant":
            raise BadInput("This message has no content.", param=f"messages[{index}].content")
    if known.conversation_id is not None and (len(known.messages) != 1 or known.messages[0].role != "user"):
        raise BadInput(
            "With `conversation_id` send exactly one new user message: the server adds the history.",
            param="messages",
        )
    return ChatRequest(
        known=known,
        body=strip(body, "conversation_id", "knowledge_base_ids"),
        prompt_chars=chars,
        max_tokens=known.max_completion_tokens or known.max_tokens or 0,
        priority=choose_priority(known.priority, principal),
    )


def prompt_length(prompt: str | list[Any]) -> int:
    """Characters of a prompt or an input: text, token ids, or a list of either; token ids count as four each."""
    if isinstance(prompt, str):
        return len(prompt)
    return sum(CHARS_PER_TOKEN if isinstance(item, int) else prompt_length(item) for item in prompt)
