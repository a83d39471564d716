"""A text that is there already, as an engine would have sent it: OpenAI's JSON, whole or as a stream's events. Pure."""

from typing import Any

import orjson

from inference.types import TokenUsage

# Letters of one event: a replay is no flood of tiny ones, and no single huge one.
PIECE = 400


def whole_body(
    *, id: str, created: int, model: str, text: str, finish_reason: str, usage: TokenUsage
) -> bytes:
    """The answer of a call that was not streamed. `created` is seconds since the epoch."""
    message = {"role": "assistant", "content": text}
    body = {
        **_envelope(id, "chat.completion", created, model),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
    }
    return orjson.dumps(body)


def stream_events(*, id: str, created: int, model: str, text: str, finish_reason: str) -> tuple[bytes, ...]:
    """The events of a stream, without `[DONE]` and the usage."""
    envelope = _envelope(id, "chat.completion.chunk", created, model)

    def event(delta: dict[str, Any], end: str | None = None) -> bytes:
        return orjson.dumps({**envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})

    pieces = [event({"content": text[at : at + PIECE]}) for at in range(0, len(text), PIECE)]
    return (event({"role": "assistant", "content": ""}), *pieces, event({}, finish_reason))


def _envelope(id: str, kind: str, created: int, model: str) -> dict[str, Any]:
    return {"id": id, "object": kind, "created": created, "model": model}
