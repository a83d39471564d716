"""Bad input on the full profile, through the front: each gets the contract's error, and no other request suffers."""

import contextlib
import io
import json
import socket
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from factories.files import encrypt_pdf, make_pdf
from fakes.stack import ROOT, Member, Socket, Stack, new_member
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.services

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def member(stack: Stack) -> Member:
    """One tenant for all: bad input leaves nothing behind that the next could see."""
    return new_member(stack)


def post(member: Member, body: Any, *, path: str = "/v1/chat/completions", **more: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {more.pop('key', member.key)}"} | more.pop("headers", {})
    sent = {"data": body} if isinstance(body, bytes) else {"json": body}
    return requests.post(f"{member.stack.url}{path}", headers=headers, timeout=60, **sent, **more)


def says(answer: requests.Response, status: int, code: str) -> None:
    """The body of an OpenAI error, and the request id that the logs know it by."""
    assert answer.status_code == status, answer.text[:300]
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_request_error"),
        (b"", 400, "invalid_request_error"),
        (b"[]", 400, "invalid_request_error"),
        (b"\xff\xfe", 400, "invalid_request_error"),
        ({"model": "tiny"}, 400, "invalid_request_error"),
        ({"model": "tiny", "messages": []}, 400, "invalid_request_error"),
        ({"model": "tiny", "messages": HELLO, "max_tokens": -1}, 400, "invalid_request_error"),
        ({"model": "tiny", "messages": HELLO, "temperature": "hot"}, 400, "invalid_request_error"),
        ({"model": "nobody", "messages": HELLO}, 404, "model_not_found"),
        ({"model": "assistant/nobody", "messages": HELLO}, 404, "model_not_found"),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, dict) else "-".join(value),
)
def test_a_request_that_is_wrong_says_what(member: Member, body: Any, status: int, code: str) -> None:
    says(post(member, body), status, code)


@pytest.mark.parametrize("key", ["", "nonsense", "sk-1", "atr_aaaaaaaa_" + "b" * 40], ids=range(4))
def test_a_key_that_is_none_is_refused(member: Member, key: str) -> None:
    says(post(member, {"model": "tiny", "messages": HELLO}, key=key), 401, "invalid_api_key")


def test_a_revoked_key_is_dead_within_two_seconds_at_every_gateway(stack: Stack) -> None:
    doomed = new_member(stack)
    for gateway in stack.gateways:
        answer = requests.get(
            f"{gateway}/v1/models", headers={"Authorization": f"Bearer {doomed.key}"}, timeout=10
        )
        assert answer.status_code == 200
    stack.manage("revoke_api_key", doomed.key.split("_")[1])
    time.sleep(2)
    for gateway in stack.gateways:
        answer = requests.get(
            f"{gateway}/v1/models", headers={"Authorization": f"Bearer {doomed.key}"}, timeout=10
        )
        assert answer.status_code == 401


def test_a_body_over_the_limit_is_refused_and_the_next_request_served(member: Member) -> None:
    huge = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 21_000_000}]}
    says(post(member, huge), 413, "request_too_large")
    assert post(member, {"model": "tiny", "messages": HELLO, "max_tokens": 1}).status_code == 200


def test_unknown_fields_and_broken_json_over_rest_are_problems(member: Member) -> None:
    unknown = post(member, {"name": "x", "colour": "red"}, path="/api/v1/knowledge-bases")
    assert unknown.status_code == 400
    assert unknown.headers["content-type"] == "application/problem+json"
    assert "colour" in unknown.json()["errors"]
    broken = post(member, b"{", path="/api/v1/knowledge-bases", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400
    assert broken.json()["request_id"] == broken.headers["x-request-id"]
    assert "x" not in {base["name"] for base in member.rest("GET", "/knowledge-bases")["results"]}


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for number in range(210):
            archive.writestr(f"word/part{number}.xml", b" " * 1_000_000)
    return out.getvalue()


def test_documents_that_harm_fail_with_a_reason_and_the_good_one_is_ready(member: Member) -> None:
    base = member.rest("POST", "/knowledge-bases", json={"name": "Mixed"})["id"]
    path = f"/knowledge-bases/{base}/documents"
    harmful = {
        "locked.pdf": encrypt_pdf(make_pdf("secret"), "pw"),
        "image.pdf": b"\x89PNG\r\n\x1a\n" + b"\0" * 200,
        "bomb.docx": bomb(),
        "torn.pdf": make_pdf("a page", "another")[:300],
        "binary.txt": bytes(range(256)) * 20,
    }
    made: dict[str, Any] = {}
    for name, content in harmful.items():
        answer = requests.post(
            f"{member.stack.url}/api/v1{path}",
            headers={"Authorization": f"Bearer {member.key}"},
            files={"file": (name, content)},
            timeout=60,
        )
        if answer.status_code == 201:
            made[name] = answer.json()["id"]
        else:
            assert answer.status_code in (400, 413, 415), f"{name}: {answer.status_code}"
            assert answer.json()["detail"]
    member.upload(base, "good.md", "# Good\n\nThe lamp is green.\n")
    deadline = time.monotonic() + 60
    for name, document in made.items():
        state = member.rest("GET", f"{path}/{document}")
        while state["state"] in ("queued", "processing") and time.monotonic() < deadline:
            time.sleep(0.2)
            state = member.rest("GET", f"{path}/{document}")
        assert state["state"] == "failed", name
        assert state["error"], name
        assert state["chunk_count"] == 0, name
    found = member.rest("POST", f"/knowledge-bases/{base}/search", json={"query": "lamp", "limit": 50})
    assert {hit["title"] for hit in found["results"]} == {"good.md"}


@pytest.mark.parametrize("content", [b"", b"   \n \t "], ids=["empty", "blank"])
def test_a_document_without_text_is_never_ready(member: Member, content: bytes) -> None:
    base = member.rest("POST", "/knowledge-bases", json={"name": f"Empty {len(content)}"})["id"]
    answer = requests.post(
        f"{member.stack.url}/api/v1/knowledge-bases/{base}/documents",
        headers={"Authorization": f"Bearer {member.key}"},
        files={"file": ("empty.txt", content)},
        timeout=60,
    )
    if answer.status_code != 201:
        assert answer.status_code == 400
        assert answer.json()["detail"]
        return
    deadline = time.monotonic() + 30
    state = answer.json()
    while state["state"] in ("queued", "processing") and time.monotonic() < deadline:
        time.sleep(0.2)
        state = member.rest("GET", f"/documents/{state['id']}")
    assert state["state"] == "failed"


class Engine:
    """A fake engine as a process of its own, and the model it stands behind."""

    def __init__(self, member: Member) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.model = f"bad-{uuid.uuid4().hex[:8]}"
        self.url = f"http://127.0.0.1:{self.port}/v1"
        command = [sys.executable, "tests/fakes/engine_server.py", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                requests.get(f"http://127.0.0.1:{self.port}/health", timeout=1)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        member.stack.manage(
            "register_engine", "--pool", self.model, "--model", self.model, "--url", self.url,
            "--served-name", "tiny", "--max-concurrency", "4",
        )  # fmt: skip

    def behave(self, **how: Any) -> None:
        requests.post(f"http://127.0.0.1:{self.port}/control", json=how, timeout=5).raise_for_status()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def engine(member: Member) -> Iterator[Engine]:
    """A fake engine registered with the stack."""
    running = Engine(member)
    yield running
    running.end()
    member.stack.manage("remove_engine", running.url)


def test_an_engine_that_answers_rubbish_fails_its_own_call_alone(member: Member, engine: Engine) -> None:
    engine.behave(rubbish=True)
    answer = post(member, {"model": engine.model, "messages": HELLO})
    assert answer.status_code in (502, 503)
    assert answer.json()["error"]["message"]
    assert post(member, {"model": "tiny", "messages": HELLO, "max_tokens": 1}).status_code == 200


def test_an_engine_that_says_no_is_quoted(member: Member, engine: Engine) -> None:
    engine.behave(status=400, message="The prompt is too strange.")
    answer = post(member, {"model": engine.model, "messages": HELLO})
    assert answer.status_code == 400
    assert "too strange" in answer.json()["error"]["message"]


@pytest.mark.parametrize("fault", [{"die_after": 3}, {"error_after": 3}], ids=["cut", "error"])
def test_an_engine_that_dies_in_mid_stream_ends_with_an_error_event(
    member: Member, engine: Engine, fault: dict[str, Any]
) -> None:
    engine.behave(words=20, gap_s=0.05, **fault)
    body = {"model": engine.model, "messages": HELLO, "stream": True}
    text = post(member, body).text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    # How many there are turns on how busy the machine is: chunks that come together leave together.
    said = [json.loads(event)["choices"] for event in events if event.startswith('{"id"')]
    assert any(choice["delta"].get("content") for choices in said for choice in choices)
    errors = [json.loads(event) for event in events if event.startswith('{"error"')]
    assert len(errors) == 1
    assert errors[0]["error"]["message"]
    assert "[DONE]" not in events[:-1]


def test_an_engine_that_is_down_is_unavailable_at_once(member: Member, engine: Engine) -> None:
    engine.end()
    began = time.monotonic()
    answer = post(member, {"model": engine.model, "messages": HELLO})
    assert answer.status_code == 503
    assert time.monotonic() - began < 10
    assert int(answer.headers["retry-after"]) >= 1
    assert post(member, {"model": "tiny", "messages": HELLO, "max_tokens": 1}).status_code == 200


def test_a_slow_engine_holds_up_nobody_else(member: Member, engine: Engine) -> None:
    engine.behave(first_byte_s=5.0)
    slow = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys, requests; requests.post(sys.argv[1], headers={'Authorization': sys.argv[2]}, "
            "json={'model': sys.argv[3], 'messages': [{'role': 'user', 'content': 'x'}]}, timeout=30)",
            f"{member.stack.url}/v1/chat/completions", f"Bearer {member.key}", engine.model,
        ]
    )  # fmt: skip
    time.sleep(1.0)
    began = time.monotonic()
    assert post(member, {"model": "atrium-extractive", "messages": HELLO}).status_code == 200
    assert time.monotonic() - began < 2.0
    assert slow.wait(timeout=30) == 0


async def test_frames_that_are_wrong_are_answered_and_the_socket_lives(member: Member) -> None:
    async with Socket(member.stack.gateways[0], member.key) as one:
        for wrong in ("not json", "[]", "{}", '{"type":"unknown"}', '{"type":"message.create"}'):
            await one._socket.send(wrong)
            frame = await one.receive()
            assert frame["type"] == "error", wrong
            assert frame["code"]
        await one.send(type="ping")
        assert (await one.receive())["type"] == "pong"


async def test_a_frame_that_is_too_long_costs_its_own_socket_at_most(member: Member) -> None:
    gateway = member.stack.gateways[0]
    async with Socket(gateway, member.key) as one, Socket(gateway, member.key) as other:
        await one._socket.send(json.dumps({"type": "ping", "padding": "x" * 2_000_000}))
        with contextlib.suppress(ConnectionClosed):
            assert (await one.receive())["type"] == "error"
        await other.send(type="ping")
        assert (await other.receive())["type"] == "pong"


def test_what_went_wrong_is_in_the_log_under_its_request_id(member: Member) -> None:
    request_id = uuid.uuid4().hex
    post(member, {"model": "nobody", "messages": HELLO}, headers={"x-request-id": request_id})
    home = Path(member.stack.environment["ATRIUM_HOME"])
    deadline = time.monotonic() + 5
    lines: list[str] = []
    while not lines and time.monotonic() < deadline:
        time.sleep(0.1)
        logs = (home / "production" / "logs").glob("gateway-*.log")
        lines = [line for log in logs for line in log.read_text().splitlines() if request_id in line]
    assert lines, "no log line has the request id"
    assert any(json.loads(line).get("status") == 404 for line in lines if line.startswith("{"))
    assert not any(member.key in line for line in lines)
