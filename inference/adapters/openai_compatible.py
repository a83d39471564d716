"""Engines behind HTTP that speak OpenAI's API: vLLM first of all, any other such endpoint too.

One connection pool per instance, hence per process and event loop. Closing a stream, or cancelling a call, closes its
connection, which is how vLLM is told to stop. What clients must not set is taken out of the body here, whoever calls.
"""

import asyncio
import functools
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import structlog

from inference.adapters.http_pool import Answer, AnswerBroken, ConnectionStale, HttpPool, Target
from inference.openai_frames import FrameReader, read_completion, read_embeddings, read_refusal
from inference.salts import cache_salt
from inference.sse import EventParser, EventTooLong
from inference.types import Chunk, Completion, Embeddings, EngineRequest, ReplicaLoad, ReplicaSpec, Surface
from kernel.errors import EngineUnavailable, UpstreamFailed

log = structlog.get_logger(__name__)

# What would let a caller see or disturb other tenants' work in the engine.
DENIED = frozenset(
    {
        "cache_salt",
        "kv_transfer_params",
        "vllm_xargs",
        "priority",
        "request_id",
        "stream",
        "stream_options",
        "model",
    }
)
USER_AGENT = ("user-agent", "atrium")
# vLLM's option of streams: each event tells the tokens until then.
COUNTS = "continuous_usage_stats"
CONNECT_S = 2.0
HEALTH_S = 1.5
# Below the 5 s after which vLLM's server closes an idle connection, so that it never closes one just being used.
KEEP_ALIVE_S = 4.0
MOST_ANSWER_BYTES = 64 * 1024 * 1024
MOST_ERROR_BYTES = 64 * 1024
# How long the end of a finished answer may take before its connection is given up.
CLOSING_S = 0.25
# Answers beyond this size are decoded in a thread, for it takes longer than a loop may stand still.
LARGE_BYTES = 512 * 1024

_GAUGE = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc|generation_tokens_total|prompt_tokens_total"
    r"|prefix_cache_queries_total|prefix_cache_hits_total)(?:\{[^}]*\})? (\S+)",
    re.M,
)
# What the engine's cache is made of is told in labels, in no certain order.
_CACHE = re.compile(r"^vllm:cache_config_info\{([^}\n]*)\}", re.M)
_BLOCKS = re.compile(r'\b(block_size|num_gpu_blocks)="(\d+)"')


class OpenAICompatibleEngine:
    """`engine.openai`. Errors are those of the port; nothing is retried but a call on a connection found dead."""

    def __init__(self, *, connect_s: float = CONNECT_S) -> None:
        """`connect_s`: the longest a connection may take to come about."""
        self._pool = HttpPool(connect_s=connect_s, keep_s=KEEP_ALIVE_S)

    async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
        """The whole answer; its first byte is its last, so `first_byte_timeout_s` bounds all of it."""
        raw = await self._whole(replica, request, _call_body(replica, request))
        return read_completion(raw, replica.model)

    async def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """The answer as it is made, one chunk for each read that holds a token."""
        body = _call_body(replica, request)
        body["stream"] = True
        given = request.body.get("stream_options")
        options = {**(given if isinstance(given, Mapping) else {}), "include_usage": True}
        counted, shown = _counts_along(replica, request), bool(options.get(COUNTS))
        body["stream_options"] = {**options, COUNTS: True} if counted else options
        reader = FrameReader(replica.model, counted=counted, shown=shown or not counted)
        events = EventParser()
        answer = await self._begin(replica, request, body)
        if answer.content_type != "text/event-stream":
            answer.close()
            raise UpstreamFailed("The engine did not answer with a stream.")
        idle_s = request.idle_timeout_s
        try:
            while not reader.done:
                data = await answer.read_some()
                if not data:
                    break
                chunk = reader.read(events.feed(data))
                if chunk is not None:
                    # Until the first one it is the request's own limit.
                    answer.expect_within(idle_s)
                    yield chunk
            if not reader.done and not reader.finished:
                raise AnswerBroken("the stream ended before its end")
            await _finish(answer)
        except (OSError, EventTooLong) as error:
            raise _broken(error, begun=reader.begun, late=isinstance(error, TimeoutError)) from error
        finally:
            answer.close()

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """One vector for each input; they travel as base64, which costs a tenth of numbers in JSON."""
        inputs = request.body["input"]
        body = _call_body(replica, request) | {"encoding_format": "base64"}
        raw = await self._whole(replica, request, body)
        if len(raw) > LARGE_BYTES:
            return await asyncio.to_thread(read_embeddings, raw, len(inputs))
        return read_embeddings(raw, len(inputs))

    async def health(self, replica: ReplicaSpec) -> None:
        """`/health` beside `/v1` says 200; where there is no such route, `/v1/models` answers."""
        status, _ = await self._get(replica, "/health")
        if status in (404, 405):
            status, _ = await self._get(replica, "/v1/models")
        if status != 200:
            raise EngineUnavailable(f"The engine's health check says {status}.")

    async def load(self, replica: ReplicaSpec) -> ReplicaLoad:
        """vLLM's own gauges, summed over its engines; the fullest cache counts."""
        status, text = await self._get(replica, "/metrics")
        if status != 200:
            raise EngineUnavailable(f"The engine's metrics say {status}.")
        sums: defaultdict[str, float] = defaultdict(float)
        for name, value in _GAUGE.findall(text):
            number = _number(value)
            sums[name] = max(sums[name], number) if name == "kv_cache_usage_perc" else sums[name] + number
        return ReplicaLoad(
            running=int(sums["num_requests_running"]),
            waiting=int(sums["num_requests_waiting"]),
            kv_usage=min(1.0, sums["kv_cache_usage_perc"]),
            made_tokens=sums["generation_tokens_total"],
            prompt_tokens=sums["prompt_tokens_total"],
            cache_asked=sums["prefix_cache_queries_total"],
            cache_hits=sums["prefix_cache_hits_total"],
            cache_tokens=sum(_cache_tokens(labels) for labels in _CACHE.findall(text)),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _whole(self, replica: ReplicaSpec, request: EngineRequest, body: dict[str, Any]) -> bytes:
        try:
            answer = await self._post(replica, request, body)
            try:
                return await _read(answer, MOST_ANSWER_BYTES)
            finally:
                answer.release()
        except TimeoutError as error:
            raise _broken(error, begun=False, late=True) from error
        except OSError as error:
            raise _broken(error, begun=False, late=False) from error

    async def _begin(self, replica: ReplicaSpec, request: EngineRequest, body: dict[str, Any]) -> Answer:
        """As `_post`, with every ending but a 200 as an error of the port."""
        try:
            return await self._post(replica, request, body)
        except TimeoutError as error:
            raise _broken(error, begun=False, late=True) from error
        except OSError as error:
            raise _broken(error, begun=False, late=False) from error

    async def _post(self, replica: ReplicaSpec, request: EngineRequest, body: dict[str, Any]) -> Answer:
        """The head of a 200 answer. Raises OSError, and the port's errors for any other status."""
        headers = [("content-type", "application/json"), ("x-request-id", request.request_id), USER_AGENT]
        if request.traceparent:
            headers.append(("traceparent", request.traceparent))
        if replica.api_key:
            headers.append(("authorization", f"Bearer {replica.api_key}"))
        raw = orjson.dumps(body)
        target = _target(replica.url, request.surface.value)
        within_s = request.first_byte_timeout_s
        try:
            answer = await self._pool.request("POST", target, headers, raw, within_s=within_s)
        except ConnectionStale:
            # A kept connection that the engine had closed meanwhile: nothing came back, ask once more.
            answer = await self._pool.request("POST", target, headers, raw, within_s=within_s, fresh=True)
        if answer.status == 200:
            return answer
        try:
            raise _refused(replica, answer.status, await _read_error(answer))
        finally:
            answer.release()

    async def _get(self, replica: ReplicaSpec, path: str) -> tuple[int, str]:
        headers = [USER_AGENT]
        if replica.api_key:
            headers.append(("authorization", f"Bearer {replica.api_key}"))
        target = _target(replica.url.removesuffix("/").removesuffix("/v1"), path.lstrip("/"))
        try:
            answer = await self._pool.request("GET", target, headers, within_s=HEALTH_S, fresh=True)
            try:
                text = await _read(answer, MOST_ANSWER_BYTES)
            finally:
                answer.release()
            return answer.status, text.decode("utf-8", "replace")
        except TimeoutError as error:
            raise EngineUnavailable("The engine did not answer in time.") from error
        except OSError as error:
            raise EngineUnavailable("The engine is not reachable.") from error


@functools.lru_cache(maxsize=4096)
def _target(base: str, path: str) -> Target:
    try:
        return Target.of(f"{base.rstrip('/')}/{path}")
    except ValueError as error:
        raise EngineUnavailable("The engine's address is not an http address.") from error


def _counts_along(replica: ReplicaSpec, request: EngineRequest) -> bool:
    """Whether the engine can tell the tokens of the answer as it makes it: of several it tells those of each."""
    body = request.body
    one = (body.get("n") or 1) == 1 and (
        request.surface is Surface.CHAT or isinstance(body.get("prompt"), str)
    )
    return replica.vllm and one


def _call_body(replica: ReplicaSpec, request: EngineRequest) -> dict[str, Any]:
    body = {name: value for name, value in request.body.items() if name not in DENIED}
    body["model"] = replica.served_name
    if replica.vllm:
        body["cache_salt"] = cache_salt(request.tenant_id)
        if request.priority and request.surface is not Surface.EMBEDDINGS:
            body["priority"] = request.priority
    return body


async def _read(answer: Answer, limit: int) -> bytes:
    if (answer.content_length or 0) > limit:
        raise UpstreamFailed("The engine's answer is too large.")
    parts: list[bytes] = []
    size = 0
    while part := await answer.read_some():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise UpstreamFailed("The engine's answer is too large.")
        if answer.ended:
            # What has come has been read.
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _read_error(answer: Answer) -> bytes:
    try:
        return await _read(answer, MOST_ERROR_BYTES)
    except UpstreamFailed:
        return b""


async def _finish(answer: Answer) -> None:
    """Read the end of a finished answer, so that its connection can be used again."""
    if not answer.ended:
        try:
            async with asyncio.timeout(CLOSING_S):
                while await answer.read_some():
                    pass
        except OSError:
            return
    answer.release()


def _refused(replica: ReplicaSpec, status: int, raw: bytes) -> UpstreamFailed:
    """A 4xx that is the caller's fault is passed on; all else means that another replica may do."""
    if 400 <= status < 500 and status not in (401, 403, 404, 405, 408, 429):
        return read_refusal(raw, status)
    log.warning("engine_refused", url=replica.url, status=status, answer=raw[:500].decode("utf-8", "replace"))
    if status in (429, 503):
        return EngineUnavailable("The engine says it is full.", code="engine_full")
    return EngineUnavailable(f"The engine answered with status {status}.")


def _broken(error: Exception, *, begun: bool, late: bool) -> UpstreamFailed:
    if begun:
        return UpstreamFailed(
            "The engine fell silent in the middle of its answer."
            if late
            else "The engine's answer broke off in the middle."
        )
    if late:
        return EngineUnavailable("The engine did not answer in time.")
    if isinstance(error, EventTooLong):
        return UpstreamFailed("The engine sent an event that is too long.")
    return EngineUnavailable("The engine is not reachable.")


def _cache_tokens(labels: str) -> int:
    """How many tokens the cache of one engine holds; 0 when it does not say."""
    found = dict(_BLOCKS.findall(labels))
    return int(found.get("block_size", 0)) * int(found.get("num_gpu_blocks", 0))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
