"""`/v1` from outside: the official client against a whole Atrium with a fake engine behind it."""

import base64
import concurrent.futures
import json
import struct
import time
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest
from fakes.engine_server import Behaviour
from fakes.installation import Installation

MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]


def request_id_of(error: openai.APIStatusError) -> str:
    assert error.request_id
    return error.request_id


def test_chat_whole(live: Installation) -> None:
    raw = live.client().chat.completions.with_raw_response.create(model="org/tiny", messages=MESSAGES)
    answer = raw.parse()
    assert answer.choices[0].message.content == "".join(f"word{number} " for number in range(8))
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert raw.headers["x-atrium-model"] == "org/tiny"
    assert raw.headers["x-atrium-pool"] == "fake"
    assert raw.headers["x-atrium-replica"]
    assert raw.headers["x-atrium-cache"] == "off"
    assert float(raw.headers["x-atrium-queue-ms"]) >= 0
    assert 0 <= float(raw.headers["x-atrium-overhead-ms"]) < 1000
    assert live.usage_of(raw.headers["x-request-id"]) == [
        ("completed", "org/tiny", answer.usage.prompt_tokens, 8),
    ]


def test_chat_streamed(live: Installation) -> None:
    raw = live.client().chat.completions.with_raw_response.create(
        model="org/tiny", messages=MESSAGES, stream=True
    )
    chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "".join(
        f"word{number} " for number in range(8)
    )
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    [(state, model, prompt, completion)] = live.usage_of(raw.headers["x-request-id"])
    assert (state, model, completion) == ("completed", "org/tiny", 8)
    assert prompt > 0


def test_usage_in_the_stream_when_asked(live: Installation) -> None:
    chunks = list(
        live.client().chat.completions.create(
            model="org/tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize("stream", [False, True])
def test_legacy_completions(live: Installation, stream: bool) -> None:
    client = live.client()
    if stream:
        text = "".join(
            chunk.choices[0].text
            for chunk in client.completions.create(model="org/tiny", prompt="Once", stream=True)
            if chunk.choices
        )
    else:
        text = client.completions.create(model="org/tiny", prompt="Once").choices[0].text
    assert text.split()[0] == "word0"
    assert live.engine.requests[-1].path == "/v1/completions"
    assert live.engine.requests[-1].body["prompt"] == "Once"


def test_embeddings_in_both_encodings(live: Installation) -> None:
    client = live.client()
    numbers = client.embeddings.create(
        model="vectors", input=["red apple", "green pear"], encoding_format="float"
    )
    assert [entry.index for entry in numbers.data] == [0, 1]
    assert len(numbers.data[0].embedding) == 32
    assert numbers.usage.prompt_tokens == 4
    # The client asks for base64 by itself, and decodes it.
    packed = client.embeddings.create(model="vectors", input=["red apple", "green pear"])
    assert packed.data[1].embedding == pytest.approx(numbers.data[1].embedding, abs=1e-6)
    status, raw = live.server.request(
        "POST",
        "/v1/embeddings",
        key=live.key,
        body={"model": "vectors", "input": "red apple", "encoding_format": "base64"},
    )
    assert status == 200
    decoded = struct.unpack("<32f", base64.b64decode(raw["data"][0]["embedding"]))
    assert decoded == pytest.approx(numbers.data[0].embedding, abs=1e-6)


def test_embeddings_by_the_built_in_model_are_billed(live: Installation) -> None:
    raw = live.client().embeddings.with_raw_response.create(model="atrium-embedding", input="a word")
    assert len(raw.parse().data[0].embedding) > 8
    [(state, model, prompt, completion)] = live.usage_of(raw.headers["x-request-id"])
    assert (state, model, completion) == ("completed", "atrium-embedding", 0)
    assert prompt > 0


def test_models(live: Installation) -> None:
    client = live.client()
    kinds = {model.id: getattr(model, "kind", None) for model in client.models.list()}
    assert (
        kinds.items()
        >= {
            "org/tiny": "chat",
            "vectors": "embedding",
            "atrium-extractive": "chat",
            "atrium-embedding": "embedding",
            "auto": "chat",
        }.items()
    )
    assert client.models.retrieve("org/tiny").id == "org/tiny"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("org/none")
    assert refused.value.code == "model_not_found"


def test_auto_chooses_a_real_model(live: Installation) -> None:
    raw = live.client().chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    assert raw.headers["x-atrium-model"] in {"org/tiny", "narrow", "dead"}
    assert raw.parse().choices[0].message.content


@pytest.mark.parametrize("key", ["nonsense", "atr_abcdefgh_" + "x" * 40, "Bearer"])
def test_wrong_keys(live: Installation, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        live.client(key).chat.completions.create(model="org/tiny", messages=MESSAGES)
    assert refused.value.code == "invalid_api_key"
    assert request_id_of(refused.value)


def test_missing_key(live: Installation) -> None:
    status, body = live.server.request("POST", "/v1/chat/completions", body={})
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")


def test_revoked_key_within_two_seconds(live: Installation) -> None:
    issued = live.server.manage("issue_api_key", "--tenant", "acme", "--name", "short")
    client = live.client(issued["key"])
    assert client.chat.completions.create(model="org/tiny", messages=MESSAGES).choices
    live.server.manage("revoke_api_key", issued["prefix"])
    deadline = time.monotonic() + 2
    while True:
        try:
            client.chat.completions.create(model="org/tiny", messages=MESSAGES)
        except openai.AuthenticationError:
            break
        assert time.monotonic() < deadline, "a revoked key was still good after two seconds"
        time.sleep(0.1)


def test_a_viewer_may_list_but_not_call(live: Installation) -> None:
    client = live.client(live.viewer_key)
    assert client.models.list().data
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(model="org/tiny", messages=MESSAGES)
    assert refused.value.code == "permission_denied"


def test_unknown_model(live: Installation) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        live.client().chat.completions.create(model="no/such", messages=MESSAGES)
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        live.client().chat.completions.create(model="assistant/none", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        live.client().embeddings.create(model="no/such", input="a")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b'{"model": "org/tiny", "messages": [{"role"'),
        ("/v1/chat/completions", b"\x00\x01\x02"),
        ("/v1/embeddings", b"[1, 2"),
    ],
)
def test_broken_json(live: Installation, path: str, body: bytes) -> None:
    request = urllib.request.Request(live.server.url + path, data=body, method="POST")
    request.add_header("authorization", f"Bearer {live.key}")
    request.add_header("x-request-id", "broken-json-1")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert answer.code == 400
        assert answer.headers["x-request-id"] == "broken-json-1"
        assert json.loads(answer.read())["error"]["type"] == "invalid_request_error"


def test_body_over_the_limit(live: Installation) -> None:
    huge = [{"role": "user", "content": "x" * (21 * 1024 * 1024)}]
    with pytest.raises(openai.APIStatusError) as refused:
        live.client().chat.completions.create(model="org/tiny", messages=huge)
    assert refused.value.status_code == 413
    assert refused.value.code == "request_too_large"
    assert live.client().chat.completions.create(model="org/tiny", messages=MESSAGES).choices


def test_engine_down(live: Installation) -> None:
    with pytest.raises(openai.InternalServerError) as refused:
        live.client().chat.completions.create(model="dead", messages=MESSAGES)
    assert refused.value.status_code == 503
    assert refused.value.code == "server_overloaded"
    assert int(refused.value.response.headers["retry-after"]) >= 1
    request_id = request_id_of(refused.value)
    assert live.log_lines(request_id)
    states = [row[0] for row in live.usage_of(request_id)]
    assert states in (["failed"], [])


def test_engine_slow_to_begin(live: Installation) -> None:
    live.engine.script(Behaviour(first_byte_s=1.0))
    began = time.monotonic()
    assert live.client().chat.completions.create(model="org/tiny", messages=MESSAGES).choices
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("stream", [False, True])
def test_engine_that_refuses(live: Installation, stream: bool) -> None:
    live.engine.script(Behaviour(status=400, message="temperature must be lower"))
    with pytest.raises(openai.BadRequestError) as refused:
        list(live.client().chat.completions.create(model="org/tiny", messages=MESSAGES, stream=stream))
    assert "temperature" in refused.value.message
    states = [row[0] for row in live.usage_of(request_id_of(refused.value))]
    assert states == ["failed"]


def test_engine_that_answers_rubbish(live: Installation) -> None:
    live.engine.behaviour = Behaviour(rubbish=True)
    with pytest.raises(openai.InternalServerError) as refused:
        live.client().chat.completions.create(model="org/tiny", messages=MESSAGES)
    assert refused.value.status_code in (502, 503)
    states = [row[0] for row in live.usage_of(request_id_of(refused.value))]
    assert states == ["failed"]


@pytest.mark.parametrize("behaviour", [Behaviour(die_after=3), Behaviour(error_after=3, gap_s=0.02)])
def test_engine_that_dies_in_the_middle(live: Installation, behaviour: Behaviour) -> None:
    live.engine.script(behaviour)
    raw = live.client().chat.completions.with_raw_response.create(
        model="org/tiny", messages=MESSAGES, stream=True
    )
    seen: list[str | None] = []
    with pytest.raises(openai.APIError):
        seen.extend(chunk.choices[0].delta.content for chunk in raw.parse())
    assert seen == ["word0 ", "word1 ", "word2 "]
    [(state, _, prompt, completion)] = live.usage_of(raw.headers["x-request-id"])
    assert (state, completion) == ("failed", 3)
    assert prompt > 0


def test_other_requests_do_not_suffer(live: Installation) -> None:
    live.engine.script(Behaviour(hang=True))
    with pytest.raises(openai.APITimeoutError):
        live.client().with_options(timeout=0.5).chat.completions.create(model="org/tiny", messages=MESSAGES)
    assert live.client().chat.completions.create(model="org/tiny", messages=MESSAGES).choices


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_stops_the_engine(live: Installation, stream: bool) -> None:
    live.engine.behaviour = Behaviour(endless=True, gap_s=0.02) if stream else Behaviour(hang=True)
    request_id = f"leaving-{stream}-{time.time_ns()}"
    client = live.client().with_options(timeout=0.5)
    # Messages of other tests may still run: a Run outlives its socket.
    others = live.engine.running
    if stream:
        reading = client.chat.completions.create(
            model="org/tiny", messages=MESSAGES, stream=True, extra_headers={"x-request-id": request_id}
        )
        for _, _chunk in zip(range(5), reading, strict=False):
            pass
        reading.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(
                model="org/tiny", messages=MESSAGES, extra_headers={"x-request-id": request_id}
            )
    began = time.monotonic()
    while live.engine.running > others:
        # A second is promised, and measured on the real services; here a busy machine may take longer.
        assert time.monotonic() - began < 5.0, "the engine still ran after its client had left"
        time.sleep(0.01)
    assert live.engine.cancelled >= 1
    rows = live.usage_of(request_id)
    assert [row[0] for row in rows] == ["cancelled"]
    if stream:
        assert rows[0][3] >= 5


def test_unknown_fields_pass_and_control_fields_do_not(live: Installation) -> None:
    live.client().chat.completions.create(
        model="org/tiny",
        messages=MESSAGES,
        extra_headers={
            "X-Vllm-Priority": "-9",
            "X-data-parallel-rank": "1",
            "X-Session-ID": "mine",
            "cookie": "a=b",
        },
        extra_body={
            "guided_regex": "[a-z]+",
            "top_k": 5,
            "cache_salt": "mine",
            "kv_transfer_params": {"a": 1},
            "vllm_xargs": {"b": 2},
            "priority": -100,
            "metadata": {"team": "blue"},
        },
    )
    received = live.engine.requests[-1]
    assert received.body["guided_regex"] == "[a-z]+"
    assert received.body["top_k"] == 5
    assert received.body["model"] == "tiny"
    assert received.body.get("cache_salt") != "mine"
    assert not {"kv_transfer_params", "vllm_xargs", "metadata"} & set(received.body)
    assert received.body.get("priority", 0) >= 0
    names = {name.lower() for name in received.headers}
    assert not {"x-vllm-priority", "x-data-parallel-rank", "x-session-id", "cookie"} & names
    assert live.key not in json.dumps(received.headers)


def test_request_id_reaches_header_and_log(live: Installation) -> None:
    request_id = f"echo-{time.time_ns()}"
    raw = live.client().chat.completions.with_raw_response.create(
        model="org/tiny", messages=MESSAGES, extra_headers={"x-request-id": request_id}
    )
    assert raw.headers["x-request-id"] == request_id
    deadline = time.monotonic() + 2
    while not live.log_lines(request_id):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    line = json.loads(live.log_lines(request_id)[-1])
    assert (line["event"], line["status"], line["tenant"], line["model"]) == (
        "request",
        200,
        "acme",
        "org/tiny",
    )
    assert live.key not in live.server.log_path.read_text()


def test_many_at_once_are_each_billed_once(live: Installation) -> None:

    client = live.client()
    ids = [f"many-{time.time_ns()}-{number}" for number in range(40)]

    def ask(request_id: str) -> None:
        client.chat.completions.create(
            model="org/tiny", messages=MESSAGES, extra_headers={"x-request-id": request_id}
        )

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, ids))
    assert [len(live.usage_of(request_id)) for request_id in ids] == [1] * len(ids)
