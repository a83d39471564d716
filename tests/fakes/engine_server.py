"""A fake OpenAI-like engine on a real loopback socket, with every fault an engine can have.

In a test: `async with EngineServer() as engine:` gives `engine.url` (ending in `/v1`), takes `engine.behaviour` (for
all calls) and `engine.script(...)` (for the next calls, one each), and tells `running`, `started`, `cancelled`,
`requests`. `engine_thread()` runs one in a thread of its own, for tests that are not async. Standalone:
`python tests/fakes/engine_server.py --port 8101`; then `POST /control` with fields of Behaviour changes it, `GET
/control` tells the counts.
"""

import argparse
import asyncio
import dataclasses
import hashlib
import itertools
import json
import math
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Behaviour:
    """How calls are answered. Times are seconds.

    `die_after`: the connection is cut after so many events (0: before any byte). `status`: answer with this code and
    `message`. `rubbish`: answer with what is not JSON. `hang`: take the call and say nothing. `abort`: end at once
    with finish_reason `abort`, as a vLLM that is shutting down does. `events_per_write` joins events; `write_bytes`
    cuts the stream into pieces of that many bytes. `error_after`: an error event after so many events. `no_usage`:
    never say the usage. `endless`: words until the caller leaves.

    Of the list of models: `api_key` must be sent for it, `listing` is "fine", "rubbish", "html", "empty", "huge",
    "redirect" or "404", `listing_s` how long it takes, `context` the length it tells. `chats` false: no such route.

    A message (or a completion's prompt) that is to be continued is, as vLLM does it: what is left of the words. `lead`
    "omit" leaves out the space that such a rest begins with.

    `words_per_event` joins words of one event, as a busy vLLM does; the tokens until then are told where
    `continuous_usage_stats` asks for them, unless `no_counts`.

    `probability` is that of each token, told where `logprobs` asks for it; None: the engine tells none.
    """

    words: int = 8
    text: str = ""
    first_byte_s: float = 0.0
    gap_s: float = 0.0
    status: int = 200
    message: str = "The engine says no."
    die_after: int | None = None
    error_after: int | None = None
    rubbish: bool = False
    hang: bool = False
    abort: bool = False
    endless: bool = False
    no_usage: bool = False
    comments: bool = False
    events_per_write: int = 1
    write_bytes: int = 0
    line_end: str = "\n"
    healthy: bool = True
    dimensions: int = 32
    api_key: str = ""
    listing: str = "fine"
    listing_s: float = 0.0
    context: int = 0
    chats: bool = True
    lead: str = "keep"
    probability: float | None = 0.9
    words_per_event: int = 1
    no_counts: bool = False


@dataclass
class Received:
    """One call as it came in; the names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class EngineServer:
    """The fake engine; an async context manager that listens on `port` (0: any free one)."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    port: int = 0
    served_models: tuple[str, ...] = ("tiny",)
    running: int = 0
    started: int = 0
    cancelled: int = 0
    most_running: int = 0
    listed: int = 0
    requests: list[Received] = field(default_factory=list)
    keep_requests: int = 1000

    def __post_init__(self) -> None:
        self._script: deque[Behaviour] = deque()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The OpenAI base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *behaviours: Behaviour) -> None:
        """How the next calls are answered, one behaviour each; then `behaviour` again."""
        self._script.extend(behaviours)

    async def __aenter__(self) -> "EngineServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; the port stays the same when started again."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/health", self._health)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/control", self._counts)
        app.router.add_post("/control", self._control)
        app.router.add_post("/v1/chat/completions", self._generate)
        app.router.add_post("/v1/completions", self._generate)
        app.router.add_post("/v1/embeddings", self._generate)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and cut every connection: from now on connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until_running(self, count: int = 1, timeout_s: float = 2.0) -> None:
        """Return once `count` calls run. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.running < count:  # noqa: ASYNC110 - polled by tests alone
                await asyncio.sleep(0.005)

    async def until_idle(self, timeout_s: float = 1.0) -> None:
        """Return once nothing runs. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.running:  # noqa: ASYNC110 - polled by tests alone
                await asyncio.sleep(0.005)

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.behaviour.healthy else 503)

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.0-fake"})

    async def _metrics(self, _: web.Request) -> web.Response:
        name = self.served_models[0]
        lines = [
            f'vllm:num_requests_running{{model_name="{name}",engine="0"}} {float(self.running)}',
            f'vllm:num_requests_waiting{{model_name="{name}",engine="0"}} 0.0',
            f'vllm:kv_cache_usage_perc{{model_name="{name}",engine="0"}} 0.25',
            'vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="500"} 1.0',
            'vllm:cache_config_info{num_gpu_blocks="None",block_size="16",engine="1"} 1.0',
        ]
        return web.Response(text="\n".join(lines) + "\n")

    async def _models(self, request: web.Request) -> web.Response:
        how = self.behaviour
        self.listed += 1
        if how.listing_s:
            await asyncio.sleep(how.listing_s)
        if how.api_key and request.headers.get("Authorization") != f"Bearer {how.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if how.listing == "redirect":
            raise web.HTTPFound("http://169.254.169.254/v1/models")
        if how.listing == "404":
            raise web.HTTPNotFound
        texts = {"rubbish": "{not json", "html": "<html>It works!</html>", "huge": "[" + "1," * 2**20 + "1]"}
        if how.listing in texts:
            return web.Response(text=texts[how.listing])
        names = () if how.listing == "empty" else self.served_models
        told = {"max_model_len": how.context} if how.context else {}
        owner = "vllm" if how.context else "fake"
        models = [{"id": name, "object": "model", "created": 1, "owned_by": owner, **told} for name in names]
        return web.json_response({"object": "list", "data": models})

    async def _counts(self, _: web.Request) -> web.Response:
        names = ("running", "started", "cancelled", "most_running")
        return web.json_response({name: getattr(self, name) for name in names})

    async def _control(self, request: web.Request) -> web.Response:
        self.behaviour = dataclasses.replace(self.behaviour, **await request.json())
        return web.json_response(dataclasses.asdict(self.behaviour))

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if len(self.requests) < self.keep_requests:
            self.requests.append(
                Received(request.path, {name.lower(): value for name, value in request.headers.items()}, body)
            )
        how = self._script.popleft() if self._script else self.behaviour
        self.started += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._answer(request, body, how)
        except _Cut:
            raise asyncio.CancelledError from None
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise asyncio.CancelledError from None
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any], how: Behaviour) -> web.StreamResponse:
        if how.first_byte_s:
            await asyncio.sleep(how.first_byte_s)
        if how.hang:
            await asyncio.Event().wait()
        if how.status != 200:
            error = {"message": how.message, "type": "BadRequestError", "param": None, "code": how.status}
            return web.json_response({"error": error}, status=how.status)
        if how.die_after == 0:
            _cut(request)
        if request.path.endswith("/embeddings"):
            return _embeddings(body, how)
        if not how.chats:
            raise web.HTTPNotFound
        if body.get("stream"):
            return await _stream(request, body, how)
        return await _whole(body, how)


class _Cut(Exception):
    """The server cut the connection itself, as told."""


def _cut(request: web.Request) -> None:
    transport = request.transport
    assert transport is not None
    transport.abort()
    raise _Cut


def _words(how: Behaviour) -> Iterator[str]:
    if how.endless:
        yield from (f"word{number} " for number in itertools.count())
    elif how.text:
        yield from (word + " " for word in how.text.split(" "))
    else:
        yield from (f"word{number} " for number in range(how.words))


def _said(body: dict[str, Any]) -> str:
    """The beginning of the answer that the caller gives."""
    if body.get("continue_final_message"):
        return str(body["messages"][-1]["content"])
    prompt = body.get("prompt")
    return prompt[prompt.index("word0") :] if isinstance(prompt, str) and "word0" in prompt else ""


def _rest(body: dict[str, Any], how: Behaviour) -> Iterator[str]:
    """What is left of the words after what was said."""
    whole, said = "".join(_words(how)), _said(body)
    rest = whole[len(said) :] if whole.startswith(said) else whole
    if how.lead == "omit":
        rest = rest.lstrip()
    yield from re.findall(r"\s*\S+(?:\s+$)?|\s+$", rest)


def _prompt_tokens(body: dict[str, Any]) -> int:
    return len(json.dumps(body.get("messages", body.get("prompt", "")))) // 4 + 1


async def _whole(body: dict[str, Any], how: Behaviour) -> web.Response:
    if how.rubbish:
        return web.Response(text="<html>not what you asked for</html>", content_type="text/html")
    if how.gap_s:
        await asyncio.sleep(how.gap_s * how.words)
    text = "" if how.abort else "".join(_words(how))
    reason = "abort" if how.abort else "stop"
    choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
    chat = "messages" in body
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice["logprobs"] = _logprobs(body, how, text.split())
    answer = {
        "id": "cmpl-1",
        "object": "chat.completion" if chat else "text_completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
    }
    if not how.no_usage:
        answer["usage"] = _usage(body, len(text.split()))
    return web.json_response(answer)


def _logprobs(body: dict[str, Any], how: Behaviour, words: list[str]) -> dict[str, Any] | None:
    """As vLLM tells them of chat and of completions."""
    wanted = body.get("logprobs")
    if wanted is None or wanted is False or how.probability is None or not words:
        return None
    value = math.log(how.probability)
    if "messages" in body:
        told = [
            {"token": word, "logprob": value, "bytes": list(word.encode()), "top_logprobs": []}
            for word in words
        ]
        return {"content": told}
    return {"tokens": words, "token_logprobs": [value] * len(words), "top_logprobs": None, "text_offset": []}


def _usage(body: dict[str, Any], made: int) -> dict[str, Any]:
    prompt = _prompt_tokens(body)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _events(body: dict[str, Any], how: Behaviour) -> Iterator[str]:
    chat = "messages" in body
    head = {
        "id": "cmpl-1",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": 1,
        "model": body["model"],
    }

    options = body.get("stream_options") or {}
    counts = options.get("continuous_usage_stats") and not (how.no_usage or how.no_counts)

    def event(words: list[str], reason: str | None) -> str:
        text = "".join(words)
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        choice |= {"delta": {"content": text} if text else {}} if chat else {"text": text}
        choice["logprobs"] = _logprobs(body, how, words)
        usage = {"usage": _usage(body, made)} if counts else {}
        return json.dumps({**head, "choices": [choice], **usage}, separators=(",", ":"))

    made = events = 0
    if not how.abort:
        words = _rest(body, how) if _said(body) else _words(how)
        while said := list(itertools.islice(words, how.words_per_event)):
            if how.error_after is not None and events == how.error_after:
                yield json.dumps(
                    {"error": {"message": "engine error", "type": "InternalServerError", "code": 500}}
                )
                return
            made, events = made + len(said), events + 1
            yield event(said, None)
    yield event([], "abort" if how.abort else "stop")
    if options.get("include_usage") and not how.no_usage:
        yield json.dumps({**head, "choices": [], "usage": _usage(body, made)}, separators=(",", ":"))
    yield "[DONE]"


async def _stream(request: web.Request, body: dict[str, Any], how: Behaviour) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    waiting: list[bytes] = []
    end = how.line_end * 2
    for number, text in enumerate(_events(body, how)):
        if how.die_after is not None and number >= how.die_after:
            await response.write(b"".join(waiting))
            _cut(request)
        if how.comments:
            waiting.append(f": keep-alive{end}".encode())
        if how.rubbish and number == 1:
            text = "{not json"
        waiting.append(f"data: {text}{end}".encode())
        if len(waiting) >= how.events_per_write:
            await _write(response, b"".join(waiting), how)
            waiting = []
        if how.gap_s:
            await asyncio.sleep(how.gap_s)
    await _write(response, b"".join(waiting), how)
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, raw: bytes, how: Behaviour) -> None:
    step = how.write_bytes or len(raw) or 1
    for start in range(0, len(raw), step):
        await response.write(raw[start : start + step])
        if how.write_bytes or how.endless:
            await asyncio.sleep(0)


def _embeddings(body: dict[str, Any], how: Behaviour) -> web.Response:
    if how.rubbish:
        return web.json_response({"object": "list", "data": [{"index": 0}]})
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors = [
        {"object": "embedding", "index": i, "embedding": vector_of(text, how.dimensions)}
        for i, text in enumerate(inputs)
    ]
    tokens = sum(len(str(text).split()) for text in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return web.json_response({"object": "list", "data": vectors, "model": body["model"], "usage": usage})


def vector_of(text: object, dimensions: int) -> list[float]:
    """A unit vector that depends on the words alone: texts that share words are near to each other."""
    vector = [0.0] * dimensions
    for word in str(text).lower().split():
        digest = hashlib.sha256(word.encode()).digest()
        vector[digest[0] % dimensions] += 1.0 if digest[1] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


@contextmanager
def engine_thread(behaviour: Behaviour | None = None, *, port: int = 0) -> Iterator[EngineServer]:
    """A fake engine in a thread of its own, with its own loop."""
    engine = EngineServer(behaviour=behaviour or Behaviour(), port=port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake-engine", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(engine.start(), loop).result(10)
    try:
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(engine.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _serve(arguments: argparse.Namespace) -> None:
    engine = EngineServer(
        behaviour=Behaviour(
            words=arguments.words, gap_s=arguments.gap, events_per_write=arguments.events_per_write
        ),
        port=arguments.port,
        served_models=(arguments.model,),
        keep_requests=0,
    )
    async with engine:
        sys.stdout.write(f"listening on {engine.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8101)
    parser.add_argument("--words", type=int, default=32)
    parser.add_argument("--gap", type=float, default=0.0)
    parser.add_argument("--events-per-write", type=int, default=1)
    parser.add_argument("--model", default="tiny")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.stdout.write("stopped\n")


if __name__ == "__main__":
    main()
