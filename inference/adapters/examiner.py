"""The connection test: what answers at an address, asked before it is registered as an engine.

Everything is bounded: half a minute in all, small bodies, no redirects. The name is looked up once and its addresses
are checked, so that it cannot mean a cloud's metadata when it is connected to. What comes back is never shown as it
is: only what was understood.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import orjson

from inference.adapters.http_pool import Answer, AnswerBroken, Headers, HttpPool, Target
from inference.addresses import is_forbidden_address, is_forbidden_host
from inference.openai_frames import FrameReader
from inference.sse import EventParser, EventTooLong
from inference.types import EngineReport, FirstTokens, FoundModel, ModelKind
from kernel.errors import UpstreamFailed

WITHIN_S = 30.0
CONNECT_S = 5.0
ANSWER_S = 8.0
FIRST_TOKEN_S = 20.0
TRIES = 5
MOST_BYTES = 1024 * 1024
MOST_MODELS = 200
MODEL_LENGTH = 200
USER_AGENT = ("user-agent", "atrium-connection-test")
_ENGINES = {"vllm": "vLLM", "sglang": "SGLang", "llamacpp": "llama.cpp", "library": "Ollama"}


class _Problem(Exception):
    """Why the test ends here: a code, and what it means in words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class _Visit:
    """One examination: where, with what key, and what was found so far."""

    report: EngineReport
    address: str
    api_key: str
    pool: HttpPool = field(default_factory=lambda: HttpPool(connect_s=CONNECT_S, keep_s=3.0))

    def target(self, path: str, *, below_v1: bool = True) -> Target:
        base = self.report.url if below_v1 else self.report.url.removesuffix("/v1")
        return replace(Target.of(f"{base}/{path}"), address=self.address)

    @property
    def headers(self) -> Headers:
        key = [("authorization", f"Bearer {self.api_key}")] if self.api_key else []
        return [USER_AGENT, *key]


class HttpEngineExaminer:
    """`engine_examiner`: asks an OpenAI-compatible server who it is and what it serves."""

    async def examine(self, url: str, api_key: str, kind: ModelKind | None) -> EngineReport:
        """What answers at the base URL `url` (well-formed, ending in `/v1`)."""
        began = time.perf_counter()
        visit = _Visit(EngineReport(url=url, problem="", message=""), "", api_key)
        try:
            async with asyncio.timeout(WITHIN_S):
                visit.address = await _look_up(url)
                await _examine(visit, kind)
        except _Problem as problem:
            visit.report = replace(visit.report, problem=problem.code, message=problem.message)
        except TimeoutError:
            message = f"The whole test took longer than {WITHIN_S:.0f} seconds."
            visit.report = replace(visit.report, problem="timeout", message=message)
        finally:
            await visit.pool.close()
        return replace(visit.report, took_ms=round((time.perf_counter() - began) * 1000, 1))


async def _look_up(url: str) -> str:
    """The address to connect to. Raises _Problem."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    forbidden = _Problem("forbidden_address", "This is the address of a cloud's metadata; it is never asked.")
    if is_forbidden_host(host):
        raise forbidden
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await loop.getaddrinfo(host, parts.port or 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _Problem(
            "dns", f"The name {host} is not known here. Is it spelt as this server would have to reach it?"
        ) from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or any(is_forbidden_address(address) for address in addresses):
        raise forbidden
    # IPv4 first: engines listen on it more often than on IPv6.
    return min(addresses, key=lambda address: ":" in address)


async def _examine(visit: _Visit, kind: ModelKind | None) -> None:
    found = await _models(visit)
    owners = {model.owner for model in found}
    version = await _version(visit)
    name = next((_ENGINES[owner] for owner in owners if owner in _ENGINES), "")
    visit.report = replace(
        visit.report,
        models=tuple(found),
        engine=name or ("vLLM" if version else ""),
        version=version,
        vllm=name == "vLLM" or (not name and bool(version)),
    )
    visit.report = replace(visit.report, tries_ms=await _tries(visit))
    if not found:
        raise _Problem("no_models", "The server answers, but serves no model yet.")
    visit.report = replace(visit.report, first_tokens=await _first_tokens(visit, found[0].id, kind))


@asynccontextmanager
async def _asked(visit: _Visit, method: str, target: Target, body: bytes = b"") -> AsyncIterator[Answer]:
    """The head of an answer. Raises _Problem for what keeps it from coming."""
    headers = [*visit.headers, ("content-type", "application/json")] if body else visit.headers
    within_s = FIRST_TOKEN_S if body else ANSWER_S
    try:
        answer = await visit.pool.request(method, target, headers, body, within_s=within_s)
        try:
            yield answer
        finally:
            answer.close()
    except (OSError, EventTooLong) as error:
        raise _why(error, visit.report.url) from error


def _why(error: Exception, url: str) -> _Problem:
    """What a failed connection or answer means, in words."""
    host = urlsplit(url).netloc
    if isinstance(error, ssl.SSLCertVerificationError):
        return _Problem(
            "tls_certificate",
            f"The certificate of {host} is not trusted here ({error.verify_message}). Add its authority to this server's.",
        )
    if isinstance(error, ssl.SSLError):
        return _Problem("tls", f"{host} does not speak TLS there. Is it http:// instead of https://?")
    if isinstance(error, ConnectionRefusedError):
        return _Problem(
            "refused",
            f"Nothing listens at {host}. Is the engine running, on this port, and not on 127.0.0.1 alone?",
        )
    if isinstance(error, TimeoutError):
        return _Problem("timeout", f"{host} did not answer in time. A firewall may swallow the connection.")
    if isinstance(error, AnswerBroken | EventTooLong):
        return _Problem(
            "not_openai",
            f"{host} closed the connection, or answered what is not HTTP. Is it https:// instead of http://?",
        )
    return _Problem("unreachable", f"{host} cannot be reached from this server.")


def _check_status(status: int) -> None:
    """Raises _Problem for an answer that no OpenAI-compatible server gives to a list of its models."""
    if status in (401, 403):
        raise _Problem(
            "unauthorized", f"The engine refuses the key (status {status}). Give the engine's own API key."
        )
    if 300 <= status < 400:
        raise _Problem(
            "redirect", "The server redirects elsewhere, and that is not followed. Give its final address."
        )
    if status in (404, 405):
        raise _Problem(
            "not_openai",
            "There is no /v1/models there: this is no OpenAI-compatible server, or another path.",
        )
    if status >= 500:
        raise _Problem(
            "engine_error", f"The server answers with status {status}: it is not well, or still loading."
        )
    if status != 200:
        raise _Problem("not_openai", f"The server answers its list of models with status {status}.")


async def _body(answer: Answer) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await answer.read_some():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise _Problem("not_openai", "The server's answer is far too large for a list of models.")
    return b"".join(parts)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise _Problem("not_openai", "The server answers, but not as an OpenAI-compatible server does.")
    return found


async def _models(visit: _Visit) -> list[FoundModel]:
    async with _asked(visit, "GET", visit.target("models")) as answer:
        _check_status(answer.status)
        listed = _parsed(await _body(answer)).get("data")
    if not isinstance(listed, list):
        raise _Problem("not_openai", "The server answers, but with no list of models.")
    found = []
    for entry in listed[:MOST_MODELS]:
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and 0 < len(name) <= MODEL_LENGTH and name.isprintable():
            owner, context = entry.get("owned_by"), entry.get("max_model_len")
            length = context if isinstance(context, int) and 0 < context < 2**31 else 0
            found.append(FoundModel(name, length, owner[:64] if isinstance(owner, str) else ""))
    return found


async def _version(visit: _Visit) -> str:
    """vLLM's own version, empty where nobody tells."""
    try:
        async with _asked(visit, "GET", visit.target("version", below_v1=False)) as answer:
            version = _parsed(await _body(answer)).get("version") if answer.status == 200 else None
    except _Problem:
        return ""
    return version[:64] if isinstance(version, str) and version.isprintable() else ""


async def _tries(visit: _Visit) -> tuple[float, ...]:
    """How long equal small calls take, one after the other over a kept connection where the server keeps it."""
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        async with _asked(visit, "GET", visit.target("models")) as answer:
            await _body(answer)
            times.append(round((time.perf_counter() - began) * 1000, 2))
            answer.release()
    return tuple(times)


async def _first_tokens(visit: _Visit, model: str, kind: ModelKind | None) -> FirstTokens:
    """One token of the first model, streamed; an embedding where it makes none."""
    nothing = FirstTokens(model, kind, None, streams=False, tells_usage=False, dimensions=0, problem="")
    try:
        if kind in (None, ModelKind.CHAT):
            found = await _chat(visit, replace(nothing, kind=ModelKind.CHAT))
            if kind is not None or not found.problem:
                return found
            embedded = await _embedding(visit, replace(nothing, kind=ModelKind.EMBEDDING))
            return found if embedded.problem else embedded
        if kind is ModelKind.EMBEDDING:
            return await _embedding(visit, nothing)
    except (_Problem, UpstreamFailed) as problem:
        return replace(nothing, problem=problem.message)
    return nothing


async def _chat(visit: _Visit, found: FirstTokens) -> FirstTokens:
    body = orjson.dumps(
        {
            "model": found.model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    began = time.perf_counter()
    reader, events, size, usage = FrameReader(found.model), EventParser(), 0, False
    async with _asked(visit, "POST", visit.target("chat/completions"), body) as answer:
        if answer.status != 200:
            return replace(found, problem=f"A chat of one token is answered with status {answer.status}.")
        if answer.content_type != "text/event-stream":
            return replace(found, problem="The engine does not stream its answer.")
        first_ms: float | None = None
        while not reader.done and (data := await answer.read_some()) and size <= MOST_BYTES:
            size += len(data)
            chunk = reader.read(events.feed(data))
            if chunk is not None:
                first_ms = first_ms or round((time.perf_counter() - began) * 1000, 1)
                usage = usage or chunk.usage is not None
    if first_ms is None:
        return replace(found, problem="The engine's stream holds no answer.")
    return replace(found, first_token_ms=first_ms, streams=True, tells_usage=usage)


async def _embedding(visit: _Visit, found: FirstTokens) -> FirstTokens:
    body = orjson.dumps({"model": found.model, "input": ["Hello"]})
    began = time.perf_counter()
    async with _asked(visit, "POST", visit.target("embeddings"), body) as answer:
        if answer.status != 200:
            return replace(found, problem=f"An embedding is answered with status {answer.status}.")
        parsed = _parsed(await _body(answer))
    took_ms = round((time.perf_counter() - began) * 1000, 1)
    rows = parsed.get("data")
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    vector = row.get("embedding")
    if not isinstance(vector, list) or not vector:
        return replace(found, problem="The engine's embedding holds no vector.")
    told = isinstance(parsed.get("usage"), dict)
    return replace(found, first_token_ms=took_ms, tells_usage=told, dimensions=len(vector))
