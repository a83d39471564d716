"""The front of `/v1` over fakes: routes, ids, errors, what reaches the model and what does not."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fakes.asgi import AsgiClient
from fakes.flows import FakeDoors, frame, usual_chunks

from assistants.types import Citation
from gateway.access import AccessLog
from gateway.front import Gateway
from gateway.limits import GatewayLimits
from inference.types import Chunk
from kernel.allowance import Allowance, RateTold
from kernel.errors import (
    AtriumError,
    EngineRefused,
    EngineUnavailable,
    ModelNotFound,
    NoReplica,
    QuotaExhausted,
    RateLimited,
    ServerOverloaded,
    UpstreamFailed,
)
from tenants.types import PriorityClass

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}
QUICK = GatewayLimits(body_bytes=10_000, watch_after_s=0.01, heartbeat_s=0.09, slow_reader_s=0.15)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def make_client(log_file: Path) -> Iterator[Callable[..., AsgiClient]]:
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def make(fake: FakeDoors, *, key: str = "atr_test") -> AsgiClient:
        return AsgiClient(Gateway(fake.doors(), QUICK, AccessLog(descriptor)), key=key)

    yield make
    os.close(descriptor)


def read_log(log_file: Path) -> list[Any]:
    return [orjson.loads(line) for line in log_file.read_bytes().splitlines()]


async def test_json_answer_is_the_engines_own(make_client: Callable[..., AsgiClient]) -> None:
    answered = await make_client(FakeDoors()).post(CHAT, HELLO)
    assert answered.status == 200
    assert answered.json()["choices"][0]["message"]["content"] == "Hello you"
    assert "citations" not in answered.json()
    headers = answered.headers
    assert headers["content-type"] == "application/json"
    assert (headers["x-atrium-model"], headers["x-atrium-pool"], headers["x-atrium-replica"]) == (
        "tiny",
        "gpu",
        "r1",
    )
    assert headers["x-atrium-cache"] == "off"
    assert headers["x-atrium-queue-ms"] == "2.5"
    assert float(headers["x-atrium-overhead-ms"]) >= 0


async def test_the_arrival_of_the_body_is_not_atriums_own_time(
    make_client: Callable[..., AsgiClient],
) -> None:
    answered = await make_client(FakeDoors()).post(CHAT, HELLO, pieces=3, piece_gap_s=0.1)
    assert float(answered.headers["x-atrium-overhead-ms"]) < 200


async def test_request_id_is_echoed_or_made(make_client: Callable[..., AsgiClient]) -> None:
    fake = FakeDoors()
    client = make_client(fake)
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    echoed = await client.post(CHAT, HELLO, headers={"x-request-id": "my-request-1", "traceparent": trace})
    assert echoed.headers["x-request-id"] == "my-request-1"
    assert fake.calls[0].request_id == "my-request-1"
    assert fake.calls[0].traceparent.split("-")[1] == "a" * 32
    made = await client.post(CHAT, HELLO, headers={"x-request-id": "not ok\u00e9"})
    assert len(made.headers["x-request-id"]) == 32
    refused = await client.get("/v1/nothing")
    assert len(refused.headers["x-request-id"]) == 32


async def test_stream_sends_once_for_each_read(make_client: Callable[..., AsgiClient]) -> None:
    fake = FakeDoors()
    answered = await make_client(fake).post(CHAT, {**HELLO, "stream": True})
    assert answered.headers["content-type"].startswith("text/event-stream")
    events = answered.events()
    assert [event["choices"][0]["delta"]["content"] for event in events[:-1]] == ["Hel", "lo", " you", ""]
    assert events[-1] == "[DONE]"
    assert all("usage" not in event for event in events[:-1])
    # Two reads, then the finish together with the end.
    assert len(answered.pieces) == 3
    assert answered.ended
    assert fake.ends == ["completed"]


async def test_usage_event_only_when_asked(make_client: Callable[..., AsgiClient]) -> None:
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    events = (await make_client(FakeDoors()).post(CHAT, body)).events()
    assert events[-2]["choices"] == []
    assert events[-2]["id"] == "chatcmpl-1"
    assert events[-2]["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


async def test_error_after_the_first_byte_is_an_event(make_client: Callable[..., AsgiClient]) -> None:
    fake = FakeDoors(script=[Chunk([frame("a")], text="a"), UpstreamFailed("The engine died.")])
    answered = await make_client(fake).post(CHAT, {**HELLO, "stream": True})
    assert answered.status == 200
    assert answered.events()[-1]["error"]["message"] == "The engine died."
    assert answered.events()[-1]["error"]["code"] == "engine_failed"
    assert answered.ended
    assert "[DONE]" not in answered.events()


async def test_a_bug_after_the_first_byte_is_an_event_too(make_client: Callable[..., AsgiClient]) -> None:
    fake = FakeDoors(script=[Chunk([frame("a")], text="a"), ValueError("secret detail")])
    answered = await make_client(fake).post(CHAT, {**HELLO, "stream": True})
    assert answered.events()[-1]["error"]["code"] == "internal_error"
    assert b"secret detail" not in answered.body
    assert answered.ended


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (ModelNotFound("no such"), 404, "model_not_found", {}),
        (
            RateLimited(retry_after_s=1.2),
            429,
            "rate_limit_exceeded",
            {"retry-after": "2", "retry-after-ms": "1200"},
        ),
        (
            RateLimited(retry_after_s=0.25),
            429,
            "rate_limit_exceeded",
            {"retry-after": "1", "retry-after-ms": "250"},
        ),
        (QuotaExhausted(), 429, "insufficient_quota", {"x-should-retry": "false"}),
        (
            RateLimited(
                retry_after_s=0.6,
                allowance=Allowance(
                    RateTold(600, 0, 600), RateTold(9000, 8999, 60_000), warning="tenant/money_per_month"
                ),
            ),
            429,
            "rate_limit_exceeded",
            {
                "retry-after-ms": "600",
                "x-ratelimit-limit-requests": "600",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "0.6s",
                "x-ratelimit-limit-tokens": "9000",
                "x-ratelimit-remaining-tokens": "8999",
                "x-ratelimit-reset-tokens": "60s",
                "x-atrium-limit-warning": "tenant/money_per_month",
            },
        ),
        (ServerOverloaded(retry_after_s=3), 503, "server_overloaded", {"retry-after": "3"}),
        (NoReplica(), 503, "server_overloaded", {"retry-after": "1"}),
        (EngineUnavailable(), 503, "server_overloaded", {"retry-after": "1"}),
        (UpstreamFailed(), 502, "engine_failed", {}),
        (EngineRefused("too hot", status=422, param="temperature"), 422, "invalid_request_error", {}),
        (RuntimeError("a bug with a secret"), 500, "internal_error", {}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_each_error_has_its_wire_form(
    make_client: Callable[..., AsgiClient],
    error: Exception,
    status: int,
    code: str,
    headers: dict[str, str],
    stream: bool,
) -> None:
    answered = await make_client(FakeDoors(fails=error)).post(CHAT, {**HELLO, "stream": stream})
    assert answered.status == status
    assert set(answered.json()["error"]) == {"message", "type", "param", "code"}
    assert answered.json()["error"]["code"] == code
    assert headers.items() <= answered.headers.items()
    assert b"secret" not in answered.body
    if isinstance(error, AtriumError) and not headers:
        assert "retry-after" not in answered.headers


@pytest.mark.parametrize("key", ["", "atr_wrong", "not ascii \u00fc"])
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/v1/completions", "/v1/models"])
async def test_without_a_valid_key_nothing_is_said(
    make_client: Callable[..., AsgiClient], key: str, path: str
) -> None:
    client = make_client(FakeDoors(), key=key)
    answered = await (client.get(path) if path == "/v1/models" else client.post(path, b"not even json"))
    assert answered.status == 401
    assert answered.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", CHAT])
async def test_a_key_in_an_address_is_refused_whatever_the_address_is(
    make_client: Callable[..., AsgiClient], path: str
) -> None:
    answered = await make_client(FakeDoors()).get(f"{path}?key=atr_test")
    assert (answered.status, answered.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_permission_is_asked(make_client: Callable[..., AsgiClient]) -> None:
    answered = await make_client(FakeDoors(refused=frozenset({"chat.use"}))).post(CHAT, HELLO)
    assert (answered.status, answered.json()["error"]["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b"\xff\xfe", None),
        (b"[" * 5_000, None),
        ({"messages": HELLO["messages"]}, "model"),
        ({"model": "tiny"}, "messages"),
        ({**HELLO, "model": 3}, "model"),
        ({**HELLO, "model": ""}, "model"),
        ({**HELLO, "messages": []}, "messages"),
        ({**HELLO, "messages": "hi"}, "messages"),
        ({**HELLO, "messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
        ({**HELLO, "messages": [{"role": "user"}]}, "messages[0].content"),
        ({**HELLO, "messages": [{"content": "hi"}]}, "messages[0].role"),
        ({**HELLO, "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({**HELLO, "n": 0}, "n"),
        ({**HELLO, "max_tokens": -1}, "max_tokens"),
        ({**HELLO, "temperature": "hot"}, "temperature"),
        ({**HELLO, "priority": "now"}, "priority"),
        ({**HELLO, "knowledge_base_ids": "one"}, "knowledge_base_ids"),
        ({**HELLO, "metadata": []}, "metadata"),
        ({**HELLO, "conversation_id": "x", "messages": HELLO["messages"] * 2}, "messages"),
        ({**HELLO, "conversation_id": "x", "messages": [{"role": "system", "content": "a"}]}, "messages"),
    ],
)
async def test_bad_bodies_are_refused_and_named(
    make_client: Callable[..., AsgiClient], body: Any, param: str | None
) -> None:
    fake = FakeDoors()
    answered = await make_client(fake).post(CHAT, body)
    assert answered.status == 400
    assert answered.json()["error"]["type"] == "invalid_request_error"
    assert answered.json()["error"]["param"] == param
    assert not fake.calls
    assert not fake.turns


async def test_body_over_the_limit(make_client: Callable[..., AsgiClient]) -> None:
    client = make_client(FakeDoors())
    big = {**HELLO, "user": "x" * 20_000}
    declared = await client.post(CHAT, big)
    assert (declared.status, declared.json()["error"]["code"]) == (413, "request_too_large")
    undeclared = await client.post(CHAT, big, headers={"content-length": ""}, pieces=7)
    assert undeclared.status == 413
    in_pieces = await client.post(CHAT, HELLO, pieces=5)
    assert in_pieces.status == 200


async def test_unknown_fields_pass_and_control_fields_do_not(make_client: Callable[..., AsgiClient]) -> None:
    fake = FakeDoors()
    body = {
        **HELLO,
        "guided_regex": "[a-z]+",
        "made_up": {"deep": [1]},
        "cache_salt": "mine",
        "kv_transfer_params": {},
        "vllm_xargs": {},
        "priority": -5,
        "metadata": {"a": "b"},
        "max_completion_tokens": 9,
    }
    assert (await make_client(fake).post(CHAT, body)).status == 200
    sent = fake.calls[0].body
    assert sent["guided_regex"] == "[a-z]+"
    assert sent["made_up"] == {"deep": [1]}
    assert not {"cache_salt", "kv_transfer_params", "vllm_xargs", "priority", "metadata"} & set(sent)
    assert fake.calls[0].priority is PriorityClass.STANDARD
    assert fake.calls[0].max_tokens == 9
    assert fake.calls[0].prompt_chars == 5


@pytest.mark.parametrize(
    ("asked", "given"),
    [("batch", PriorityClass.BATCH), ("critical", PriorityClass.STANDARD), (None, PriorityClass.STANDARD)],
)
async def test_priority_is_clamped_to_the_cap(
    make_client: Callable[..., AsgiClient], asked: str | None, given: PriorityClass
) -> None:
    fake = FakeDoors()
    await make_client(fake).post(CHAT, {**HELLO, "priority": asked})
    assert fake.calls[0].priority is given


@pytest.mark.parametrize(
    ("extra", "slug"),
    [
        ({"model": "assistant/guide"}, "guide"),
        ({"conversation_id": "c-1"}, None),
        ({"knowledge_base_ids": ["k-1"]}, None),
    ],
)
async def test_turns_go_to_the_assistants(
    make_client: Callable[..., AsgiClient], extra: dict[str, Any], slug: str | None
) -> None:
    citation = Citation(1, "d", "k", "Title", "c", "text", 0.5, "/d")
    fake = FakeDoors(citations=[citation])
    client = make_client(fake)
    whole = await client.post(CHAT, {**HELLO, **extra})
    shown = {
        "index": 1,
        "document_id": "d",
        "title": "Title",
        "chunk_id": "c",
        "text": "text",
        "score": 0.5,
        "url": "/d",
    }
    assert whole.json()["citations"] == [shown]
    streamed = await client.post(CHAT, {**HELLO, **extra, "stream": True})
    with_choices = [event for event in streamed.events()[:-1] if event["choices"]]
    assert with_choices[-1]["citations"] == [shown]
    assert all("citations" not in event for event in with_choices[:-1])
    assert len(fake.turns) == 2
    assert not fake.calls
    assert fake.turns[0].assistant == slug
    assert not {"conversation_id", "knowledge_base_ids", "messages"} & set(fake.turns[0].body)


async def test_citations_without_a_finish_get_an_event_of_their_own(
    make_client: Callable[..., AsgiClient],
) -> None:
    fake = FakeDoors(script=usual_chunks()[:1], citations=[Citation(1, "d", "k", "T", "c", "t", 1.0, "")])
    events = (
        await make_client(fake).post(CHAT, {**HELLO, "model": "assistant/guide", "stream": True})
    ).events()
    assert events[-2]["citations"][0]["index"] == 1
    assert events[-2]["choices"][0]["delta"] == {}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_call(
    make_client: Callable[..., AsgiClient], log_file: Path, stream: bool
) -> None:
    leave = asyncio.Event()
    fake = FakeDoors(script=[Chunk([frame("a")], text="a"), 30.0])
    calling = asyncio.ensure_future(make_client(fake).post(CHAT, {**HELLO, "stream": stream}, leave=leave))
    await asyncio.sleep(0.05)
    leave.set()
    answered = await asyncio.wait_for(calling, 1)
    assert fake.ends == ["cancelled"]
    assert not answered.ended
    await asyncio.sleep(0.15)
    [line] = read_log(log_file)
    assert line["state"] == "cancelled"
    assert line["status"] == (200 if stream else 499)


async def test_a_reader_that_stalls_is_given_up(make_client: Callable[..., AsgiClient]) -> None:
    fake = FakeDoors(script=[Chunk([frame(str(number))]) for number in range(50)])
    answered = await asyncio.wait_for(
        make_client(fake).post(CHAT, {**HELLO, "stream": True}, block_writes_after=3), 2
    )
    assert len(answered.pieces) == 3
    assert fake.ends == ["cancelled"]


async def test_silence_is_broken_by_comments(make_client: Callable[..., AsgiClient]) -> None:
    fake = FakeDoors(script=[Chunk([frame("a")]), 0.35, *usual_chunks()])
    answered = await make_client(fake).post(CHAT, {**HELLO, "stream": True})
    assert b": keep-alive\n\n" in answered.pieces
    assert answered.events()[-1] == "[DONE]"


async def test_shutdown_is_not_mistaken_for_a_client_that_left(
    make_client: Callable[..., AsgiClient],
) -> None:
    fake = FakeDoors(script=[30.0])
    calling = asyncio.ensure_future(make_client(fake).post(CHAT, HELLO))
    await asyncio.sleep(0.05)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert fake.ends == ["cancelled"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/org/tiny", 405, "method_not_allowed"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
    ],
)
async def test_unknown_paths_and_methods(
    make_client: Callable[..., AsgiClient], method: str, path: str, status: int, code: str
) -> None:
    answered = await make_client(FakeDoors()).request(method, path, b"")
    assert (answered.status, answered.json()["error"]["code"]) == (status, code)
    assert ("allow" in answered.headers) == (status == 405)


async def test_models_lists_every_usable_id(make_client: Callable[..., AsgiClient]) -> None:
    client = make_client(FakeDoors())
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    kinds = {entry["id"]: entry["kind"] for entry in listed["data"]}
    assert kinds == {
        "auto": "chat",
        "org/tiny": "chat",
        "atrium-embedding": "embedding",
        "assistant/guide": "assistant",
    }
    for model_id in kinds:
        shown = await client.get(f"/v1/models/{model_id}")
        assert shown.json()["id"] == model_id


async def test_access_log_has_one_line_for_each_request(
    make_client: Callable[..., AsgiClient], log_file: Path
) -> None:
    client = make_client(FakeDoors())
    await client.post(CHAT, HELLO, headers={"x-request-id": "request-one"})
    await client.post(CHAT, b"{", headers={"x-request-id": "request-two"})
    await asyncio.sleep(0.15)
    first, second = read_log(log_file)
    assert (first["request_id"], first["status"], first["tenant"], first["model"]) == (
        "request-one",
        200,
        "acme",
        "tiny",
    )
    assert first["total_ms"] >= first["first_byte_ms"] >= 0
    assert (second["request_id"], second["status"], second["state"], second["error"]) == (
        "request-two",
        400,
        "failed",
        "invalid_request_error",
    )


@pytest.mark.parametrize("stream", [False, True])
async def test_rights_that_end_cancel_the_call_and_say_why(
    make_client: Callable[..., AsgiClient], log_file: Path, stream: bool
) -> None:
    fake = FakeDoors(script=[Chunk([frame("a")], text="a"), 30.0])
    calling = asyncio.ensure_future(make_client(fake).post(CHAT, {**HELLO, "stream": stream}))
    await asyncio.sleep(0.15)
    fake.known_key = "atr_other"
    fake.rights_ended.set()
    answered = await asyncio.wait_for(calling, 1)
    assert fake.ends == ["cancelled"]
    assert answered.ended
    error = answered.events()[-1]["error"] if stream else answered.json()["error"]
    assert error["code"] == "invalid_api_key"
    assert answered.status == (200 if stream else 401)


async def test_a_reader_that_stalls_is_not_waited_for_when_rights_end(
    make_client: Callable[..., AsgiClient],
) -> None:
    fake = FakeDoors(script=[Chunk([frame(str(number))]) for number in range(50)])
    fake.rights_ended.set()
    answered = await asyncio.wait_for(
        make_client(fake).post(CHAT, {**HELLO, "stream": True}, block_writes_after=3), 3
    )
    assert fake.ends == ["cancelled"]
    assert not answered.ended
