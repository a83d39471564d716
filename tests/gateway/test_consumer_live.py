"""`/ws/chat` from outside: a WebSocket client against a whole Atrium with a fake engine behind it."""

import contextlib
import http.cookiejar
import json
import re
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.engine_server import Behaviour, EngineServer, engine_thread
from fakes.installation import Installation
from fakes.live_server import LiveServer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.stack

ENDS = ("message.completed", "message.stopped", "error")
PASSWORD = "correct horse battery staple"


@contextmanager
def socket(server: LiveServer, key: str, **options: Any) -> Iterator[ClientConnection]:
    """A socket of a program with its key."""
    url = f"ws://127.0.0.1:{server.port}/ws/chat"
    protocols = ["atrium.v1", f"atrium.bearer.{key}"]
    with connect(url, subprotocols=protocols, open_timeout=5, close_timeout=2, **options) as made:
        yield made


def send(to: ClientConnection, **frame: Any) -> None:
    """Send a frame."""
    to.send(json.dumps(frame))


def ask(to: ClientConnection, **fields: Any) -> dict[str, Any]:
    """Send a `message.create`; the acceptance."""
    request_id = uuid.uuid4().hex
    values: dict[str, Any] = {"request_id": request_id, "model": "org/tiny", "content": "Hello"}
    send(to, type="message.create", **{**values, **fields})
    started = receive(to)
    assert started["type"] == "message.started", started
    return started


def receive(of: ClientConnection) -> dict[str, Any]:
    """The next frame."""
    found: dict[str, Any] = json.loads(of.recv(timeout=10))
    return found


def until_end(of: ClientConnection) -> list[dict[str, Any]]:
    """The frames up to the end of a message."""
    frames = [receive(of)]
    while frames[-1]["type"] not in ENDS:
        frames.append(receive(of))
    return frames


def close_code(of: ClientConnection) -> int | None:
    """The code the server closes with within five seconds; frames before it are passed over."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            of.recv(timeout=5)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None
    return None


def text_of(frames: list[dict[str, Any]]) -> str:
    """The text that the frames tell."""
    return "".join(frame["text"] for frame in frames if frame["type"] == "message.delta")


def stored(server: LiveServer, key: str, conversation_id: str) -> list[dict[str, Any]]:
    """The messages of a conversation."""
    status, page = server.request("GET", f"/api/v1/conversations/{conversation_id}/messages", key=key)
    assert status == 200
    found: list[dict[str, Any]] = page["results"]
    return found


def test_who_waits_for_a_slot_is_told_its_place(live: Installation) -> None:
    """Before it is routed, at most once a second, and nearer each time somebody has gone."""
    live.engine.behaviour = Behaviour(words=25, gap_s=0.1)
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(socket(live.server, live.key)) for _ in range(3))
        ask(first, model="narrow")
        assert receive(first)["type"] == "message.routed"
        ask(second, model="narrow")
        assert receive(second)["position"] == 1
        began = time.monotonic()
        ask(third, model="narrow")
        frames = until_end(third)
        waited_s = time.monotonic() - began
    places = [frame for frame in frames if frame["type"] == "message.queued"]
    assert [frame["position"] for frame in places] == sorted(
        (frame["position"] for frame in places), reverse=True
    )
    assert (places[0]["position"], places[-1]["position"]) == (2, 1)
    assert all(frame["expected_wait_s"] is None or frame["expected_wait_s"] >= 0 for frame in places)
    assert len(places) <= waited_s + 1
    assert [frame["type"] for frame in frames[: len(places) + 1]] == ["message.queued"] * len(places) + [
        "message.routed"
    ]
    assert frames[-1]["type"] == "message.completed"


def test_a_message_streams(live: Installation) -> None:
    """Numbered from one, complete, stored as told."""
    with socket(live.server, live.key) as to:
        assert to.subprotocol == "atrium.v1"
        started = ask(to)
        frames = [started, *until_end(to)]
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[1] == {**frames[1], "type": "message.routed", "model": "org/tiny"}
    assert text_of(frames) == "".join(f"word{number} " for number in range(8))
    assert frames[-1]["finish_reason"] == "stop"
    assert frames[-1]["usage"]["completion_tokens"] == 8
    question, told = stored(live.server, live.key, started["conversation_id"])
    assert question["content"] == "Hello"
    assert (told["id"], told["state"], told["content"]) == (
        started["message_id"],
        "completed",
        text_of(frames),
    )


def test_stop_reaches_the_engine_within_a_second(live: Installation) -> None:
    """From another socket; the engine's connection is gone."""
    live.engine.behaviour = Behaviour(endless=True, gap_s=0.01)
    with socket(live.server, live.key) as to, socket(live.server, live.key) as other:
        started = ask(to)
        for _ in range(4):
            receive(to)
        assert live.engine.running == 1
        began = time.monotonic()
        send(other, type="message.stop", message_id=started["message_id"])
        assert until_end(to)[-1]["type"] == "message.stopped"
        while live.engine.running and time.monotonic() - began < 3:
            time.sleep(0.01)
        assert time.monotonic() - began < 1.0
    assert live.engine.cancelled == 1


def test_leaving_ends_nothing_and_resume_loses_nothing(live: Installation) -> None:
    """A reload in the middle: what both sockets saw together is the whole answer."""
    live.engine.behaviour = Behaviour(words=120, gap_s=0.01)
    with socket(live.server, live.key) as to:
        started = ask(to)
        seen = [started] + [receive(to) for _ in range(6)]
    time.sleep(0.3)
    with socket(live.server, live.key) as to:
        send(to, type="resume", message_id=started["message_id"], last_seq=seen[-1]["seq"])
        seen += until_end(to)
        send(to, type="resume", message_id=started["message_id"], last_seq=0)
        assert [started, *until_end(to)][1:] == seen
    assert [frame["seq"] for frame in seen] == list(range(1, len(seen) + 1))
    assert text_of(seen) == "".join(f"word{number} " for number in range(120))


def test_bad_frames(live: Installation) -> None:
    """Errors, and the socket goes on; a frame too long closes it with 1009."""
    with socket(live.server, live.key) as to:
        to.send("not json")
        assert receive(to)["code"] == "invalid_request_error"
        send(to, type="message.create", request_id="r", assistant="nobody", content="hi")
        error = receive(to)
        assert (error["type"], error["code"], error["request_id"]) == ("error", "model_not_found", "r")
        send(to, type="resume", message_id=str(uuid.uuid4()), last_seq=0)
        assert receive(to)["code"] == "not_found"
        send(to, type="ping")
        assert receive(to) == {"type": "pong"}
        to.send("x" * 300_000)
        assert close_code(to) == 1009


def test_keys_that_are_not_valid(live: Installation) -> None:
    """Unknown, missing, revoked while open: 4401."""
    for key in ("atr_unknown", "atr_abcdefghij_" + "x" * 44):
        with socket(live.server, key) as to:
            assert close_code(to) == 4401
    issued = live.server.manage("issue_api_key", "--tenant", "acme", "--name", "short-lived")
    live.engine.behaviour = Behaviour(endless=True, gap_s=0.01)
    with socket(live.server, issued["key"]) as to:
        ask(to)
        live.server.manage("revoke_api_key", issued["prefix"])
        assert close_code(to) == 4401


def test_viewers_may_not_ask(live: Installation) -> None:
    """An error for the message, not for the socket."""
    with socket(live.server, live.viewer_key) as to:
        send(to, type="message.create", request_id="r", model="org/tiny", content="hi")
        assert receive(to)["code"] == "permission_denied"


def sign_in(server: LiveServer, email: str) -> str:
    """Sign in as a browser does; the session's cookie."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(f"{server.url}/accounts/login/") as page:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token is not None
    fields = {"login": email, "password": PASSWORD, "csrfmiddlewaretoken": token.group(1)}
    headers = {"referer": f"{server.url}/accounts/login/", "origin": server.url}
    body = urllib.parse.urlencode(fields).encode()
    opener.open(urllib.request.Request(f"{server.url}/accounts/login/", body, headers)).close()
    return next(cookie.value or "" for cookie in jar if cookie.name == "atrium_session")


def test_a_session_opens_from_its_own_pages_alone(live: Installation) -> None:
    """The browser's way in: cookie, Origin, tenant."""
    live.server.manage(
        "create_user", "ann@acme.example", "--tenant", "acme", "--role", "member", "--password", PASSWORD
    )
    cookie = {"cookie": f"atrium_session={sign_in(live.server, 'ann@acme.example')}"}
    url = f"ws://127.0.0.1:{live.server.port}/ws/chat?tenant="
    with connect(url + "acme", origin=live.server.url, additional_headers=cookie) as to:  # type: ignore[arg-type]
        ask(to)
        assert until_end(to)[-1]["type"] == "message.completed"
    with pytest.raises(InvalidStatus) as refused:
        connect(url + "acme", origin="https://evil.example", additional_headers=cookie)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    for tenant, headers, code in (("other", cookie, 4403), ("acme", {"cookie": "atrium_session=no"}, 4401)):
        with connect(url + tenant, origin=live.server.url, additional_headers=headers) as to:  # type: ignore[arg-type]
            assert close_code(to) == code


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[LiveServer, EngineServer, str]]:
    """A server that the test may kill, with an endless engine, and a key."""
    server = LiveServer(home=tmp_path / "home")
    with engine_thread() as engine:
        server.start("--no-demo")
        code = f"""
import json
from inference.services import register_engine
from tenants.services import create_tenant, issue_api_key

tenant = create_tenant(slug="acme", name="Acme")
register_engine(pool="fake", model="org/tiny", url={engine.url!r}, served_name="tiny")
print(json.dumps(issue_api_key(tenant_id=tenant.id, name="owner", role="owner").key))
"""
        key = server.run_code(code)
        server.wait_for_model(key, "org/tiny")
        engine.behaviour = Behaviour(endless=True, gap_s=0.01)
        yield server, engine, key
        server.stop()


def test_answers_when_the_server_goes(own_server: tuple[LiveServer, EngineServer, str]) -> None:
    """SIGTERM: gone within ten seconds, the Run failed with its text. SIGKILL: so it is after the next start."""
    server, _, key = own_server
    with socket(server, key) as to:
        started = ask(to)
        for _ in range(10):
            receive(to)
        assert server.stop() < 10
        server.start("--no-demo")
    question, told = stored(server, key, started["conversation_id"])
    assert (question["state"], told["state"]) == ("completed", "failed")
    assert "restarting" in told["error"]["message"]
    assert told["content"].startswith("word0 word1 ")

    with socket(server, key) as to:
        killed = ask(to)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            told = stored(server, key, killed["conversation_id"])[1]
            if told["content"]:
                break
            time.sleep(0.2)
        assert told["state"] == "running"
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        server.process = None
    server.start("--no-demo")
    began = time.monotonic()
    while time.monotonic() - began < 5:
        told = stored(server, key, killed["conversation_id"])[1]
        if told["state"] != "running":
            break
        time.sleep(0.1)
    assert (told["state"], told["error"]["code"]) == ("failed", "interrupted")
    assert told["content"].startswith("word0 word1 ")
    with socket(server, key) as to:
        send(to, type="resume", message_id=killed["message_id"], last_seq=0)
        frames = until_end(to)
    assert frames[-1]["code"] == "interrupted"
