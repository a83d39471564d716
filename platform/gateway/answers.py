"""An answer that has begun, onto the wire: JSON as the engine wrote it, or its events with as few sends as reads."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from assistants.types import Citation
from gateway.doors import AnswerFlow
from gateway.errors import Header, allowance_headers, error_event
from gateway.exchange import Exchange
from inference.types import TokenUsage
from kernel.errors import AtriumError
from routing.types import NAMED, RoutingDecision

DONE = b"data: [DONE]\n\n"

CitationSource = Callable[[], Sequence[Citation]]


def decision_headers(exchange: Exchange, decision: RoutingDecision) -> list[Header]:
    """Where the answer comes from and what the way there took; noted for the access log too."""
    exchange.model, exchange.replica, exchange.queue_ms = (
        decision.model,
        decision.replica,
        decision.queue_ms,
    )
    overhead_ms = exchange.elapsed_ms() - exchange.body_ms - decision.queue_ms - decision.engine_ms
    headers = [
        *_place_headers(decision.model, decision.pool, decision.replica, decision.cache),
        (b"x-atrium-queue-ms", b"%.1f" % decision.queue_ms),
        (b"x-atrium-overhead-ms", b"%.1f" % max(overhead_ms, 0.0)),
    ]
    if decision.reason and decision.reason != NAMED:
        headers.append((b"x-atrium-choice", decision.reason.encode("latin-1", "replace")))
    if decision.allowance is not None:
        headers += allowance_headers(decision.allowance)
    return headers


@functools.lru_cache(maxsize=1024)
def _place_headers(model: str, pool: str, replica: str, cache: str) -> tuple[Header, ...]:
    return (
        (b"x-atrium-model", model.encode("latin-1", "replace")),
        (b"x-atrium-pool", pool.encode("latin-1", "replace")),
        (b"x-atrium-replica", replica.encode("latin-1", "replace")),
        (b"x-atrium-cache", cache.encode()),
    )


async def send_completion(exchange: Exchange, flow: AnswerFlow, cited: CitationSource | None = None) -> None:
    """Send the whole answer as JSON, with `citations` at the top level where there is a source of them."""
    completion = await flow.completion()
    body = completion.body
    if cited is not None:
        answer = orjson.loads(body)
        answer["citations"] = citation_list(cited())
        body = orjson.dumps(answer)
    await exchange.answer(200, body, decision_headers(exchange, flow.decision))


async def send_stream(
    exchange: Exchange,
    flow: AnswerFlow,
    *,
    usage_asked: bool,
    cited: CitationSource | None = None,
) -> None:
    """Send the answer as server-sent events: one send for each read from the engine.

    The events that finish a choice are held until the stream ends (nothing but the usage follows them), so that they
    can carry the citations and leave together with the end. An error after the head is an event, then the end.
    """
    await exchange.begin_stream(decision_headers(exchange, flow.decision))
    held: list[bytes] = []
    last = b"{}"
    usage: TokenUsage | None = None
    try:
        async for chunk in flow.chunks():
            if chunk.usage is not None:
                usage = chunk.usage
            frames = chunk.frames
            if not frames:
                continue
            if held:
                frames = held + frames
                held = []
            last = frames[-1]
            if chunk.finish_reason is not None:
                held = frames
            else:
                await exchange.write(b"data: " + b"\n\ndata: ".join(frames) + b"\n\n")
    except AtriumError as error:
        exchange.error = error.code
        await exchange.end_stream(_events(held) + error_event(error))
        return
    if cited is not None:
        held = with_citations(held, last, cited())
    if usage_asked and usage is not None:
        held = [*held, _usage_frame(last, usage)]
    await exchange.end_stream(_events(held) + DONE)


def _events(frames: Sequence[bytes]) -> bytes:
    return b"data: " + b"\n\ndata: ".join(frames) + b"\n\n" if frames else b""


def with_citations(held: list[bytes], last: bytes, citations: Sequence[Citation]) -> list[bytes]:
    """`held` with the citations in its last event; an event of their own, shaped like `last`, when none is held."""
    if held:
        event = orjson.loads(held[-1])
        rest = held[:-1]
    else:
        event = _envelope(last)
        event["choices"] = [{"index": 0, "delta": {}, "finish_reason": None}]
        rest = []
    event["citations"] = citation_list(citations)
    return [*rest, orjson.dumps(event)]


def citation_list(citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """Citations as the contract shows them."""
    return [
        {
            "index": citation.index,
            "document_id": citation.document_id,
            "title": citation.title,
            "chunk_id": citation.chunk_id,
            "text": citation.text,
            "score": citation.score,
            "url": citation.url,
        }
        for citation in citations
    ]


def _usage_frame(last: bytes, usage: TokenUsage) -> bytes:
    event = _envelope(last)
    event["choices"] = []
    event["usage"] = usage_object(usage)
    return orjson.dumps(event)


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """Usage as OpenAI writes it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _envelope(last: bytes) -> dict[str, Any]:
    event = orjson.loads(last)
    return {
        "id": event.get("id", "chatcmpl-0"),
        "object": event.get("object", "chat.completion.chunk"),
        "created": event.get("created", int(time.time())),
        "model": event.get("model", ""),
    }
