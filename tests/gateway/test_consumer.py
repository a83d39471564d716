"""`/ws/chat` on the wire: who gets in, what frames do, what ends a socket."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakes.sockets import FakeRuns, SocketClient

from gateway.consumer import SocketLimits
from gateway.sockets import is_own_origin
from kernel.errors import ModelNotFound, NotSignedIn, PermissionDenied, TenantSuspended, Unavailable

HOST = "chat.example"
COOKIE = {"host": HOST, "origin": f"https://{HOST}", "cookie": "atrium_session=abc; other=1"}


def create(**fields: Any) -> dict[str, Any]:
    """A `message.create`."""
    return {"type": "message.create", "request_id": "r-1", "model": "tiny", "content": "hi", **fields}


@pytest.fixture
def runs() -> FakeRuns:
    """Runs by hand."""
    return FakeRuns()


@pytest.fixture
async def client(runs: FakeRuns) -> AsyncIterator[SocketClient]:
    """A program with a key."""
    made = SocketClient(runs)
    assert (await made.open())["type"] == "websocket.accept"
    yield made
    await made.leave()


async def test_a_key_opens_and_is_never_echoed(runs: FakeRuns) -> None:
    """`atrium.v1` is chosen; the key came through; no Origin is needed."""
    client = SocketClient(runs)
    accepted = await client.open()
    assert accepted["subprotocol"] == "atrium.v1"
    assert runs.keys == ["atr_test"]
    await client.send({"type": "ping"})
    assert await client.frame() == {"type": "pong"}
    await client.leave()


async def test_a_session_opens_with_its_tenant(runs: FakeRuns) -> None:
    """Cookie, own Origin, `?tenant=`."""
    client = SocketClient(runs, subprotocols=("atrium.v1",), headers=COOKIE, query="tenant=acme")
    assert (await client.open())["type"] == "websocket.accept"
    await client.send({"type": "ping"})
    await client.frame()
    assert runs.sessions == [("abc", "acme")]
    await client.leave()


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        f"https://{HOST}.evil.example",
        f"https://evil.{HOST}",
        f"https://{HOST}:444",
        f"https://{HOST}@evil.example",
        f"https://user@{HOST}",
        f"https://{HOST}/path",
        f"ftp://{HOST}",
        "https://CHAT.example.evil",
        "https://[",
    ],
)
async def test_pages_of_other_sites_are_refused(runs: FakeRuns, origin: str) -> None:
    """The handshake fails; the session is never looked up."""
    headers = {**COOKIE, "origin": origin} if origin else {"host": HOST, "cookie": COOKIE["cookie"]}
    client = SocketClient(runs, subprotocols=(), headers=headers)
    assert (await client.open())["type"] == "websocket.close"
    assert runs.sessions == []
    await client.leave()


def test_own_origins() -> None:
    """The very host with any scheme of the web, and what settings allow."""
    assert is_own_origin("http://127.0.0.1:8000", "127.0.0.1:8000", ())
    assert is_own_origin("https://chat.example", "inner:8000", ("https://chat.example",))
    assert not is_own_origin("https://chat.example", "", ())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotSignedIn(), 4401),
        (PermissionDenied(), 4403),
        (TenantSuspended(), 4403),
        (Unavailable(), 1013),
    ],
)
async def test_refusals_have_a_close_code(runs: FakeRuns, error: Exception, code: int) -> None:
    """Accepted first, so that a browser sees the code."""
    runs.refuse = error
    client = SocketClient(runs)
    assert (await client.open())["type"] == "websocket.accept"
    assert await client.close_code() == code
    await client.leave()


async def test_who_is_refused_is_told_why_before_the_close(runs: FakeRuns) -> None:
    runs.refuse = TenantSuspended()
    client = SocketClient(runs)
    assert (await client.open())["type"] == "websocket.accept"
    assert (await client.frame())["code"] == "tenant_suspended"
    assert await client.close_code() == 4403
    await client.leave()


async def test_nobody_is_not_signed_in(runs: FakeRuns) -> None:
    """No key, no cookie: 4401."""
    client = SocketClient(
        runs, subprotocols=("atrium.v1",), headers={"host": HOST, "origin": f"https://{HOST}"}
    )
    assert (await client.open())["subprotocol"] == "atrium.v1"
    assert await client.close_code() == 4401
    await client.leave()


async def test_a_message_is_followed_to_its_end(runs: FakeRuns, client: SocketClient) -> None:
    """Every event carries `message_id` and `seq`; after the end the place is free."""
    await client.send(create(assistant="legal", model=None, conversation_id="c", knowledge_base_ids=["k"]))
    started = await client.frame()
    message_id = uuid.UUID(started["message_id"])
    runs.tell(message_id, {"type": "message.delta", "text": "Hi"}, {"type": "message.completed"})
    assert [(await client.frame())["seq"] for _ in range(2)] == [2, 3]
    asked = runs.asked[0]
    assert (asked["assistant"], asked["model"], asked["conversation_id"]) == ("legal", None, "c")
    assert asked["knowledge_base_ids"] == ["k"]
    await asyncio.sleep(0.05)
    assert runs.following == 0


async def test_what_went_wrong_is_said_in_the_language_of_the_reader(runs: FakeRuns) -> None:
    """A refused frame, and the last event of a message that failed; codes stay as they are."""
    client = SocketClient(runs, headers={"accept-language": "de-DE,de;q=0.9"})
    await client.open()
    await client.send({"type": "message.create", "request_id": "r-1", "content": "hi"})
    refused = await client.frame()
    assert refused["code"] == "invalid_request_error"
    assert refused["message"] == "Nennen Sie einen `assistant` oder ein `model`."
    await client.send(create())
    message_id = uuid.UUID((await client.frame())["message_id"])
    runs.tell(
        message_id, {"type": "error", "code": "time_limit", "message": "The answer took longer than it may."}
    )
    ended = await client.frame()
    assert (ended["code"], ended["seq"]) == ("time_limit", 2)
    assert ended["message"] == "Die Antwort hat länger gedauert, als sie darf."
    await client.leave()


async def test_leaving_ends_the_reading_only(runs: FakeRuns) -> None:
    """The reader is gone at once; nobody was stopped."""
    client = SocketClient(runs)
    await client.open()
    await client.send(create())
    await client.frame()
    assert runs.following == 1
    await client.leave()
    assert runs.following == 0
    assert runs.stopped == []


async def test_stop_and_resume(runs: FakeRuns, client: SocketClient) -> None:
    """Resume replays from `last_seq`, also what this socket follows already: no event comes twice after it."""
    message_id = uuid.uuid4()
    runs.tell(message_id, *({"type": "message.delta", "text": str(n)} for n in range(5)))
    await client.send({"type": "resume", "message_id": str(message_id), "last_seq": 3})
    assert [(await client.frame())["seq"] for _ in range(2)] == [4, 5]
    await client.send({"type": "resume", "message_id": str(message_id), "last_seq": 4})
    assert (await client.frame())["seq"] == 5
    assert runs.following == 1
    await client.send({"type": "message.stop", "message_id": str(message_id)})
    await client.send({"type": "ping"})
    await client.frame()
    assert runs.stopped == [message_id]


@pytest.mark.parametrize("kind", ["resume", "message.stop"])
@pytest.mark.parametrize("message_id", ["0198f0c2-0000-7000-8000-000000000000", "not-a-uuid"])
async def test_unknown_messages(client: SocketClient, kind: str, message_id: str) -> None:
    """`not_found`, outside of any message's events; the socket stays."""
    await client.send({"type": kind, "message_id": message_id})
    error = await client.frame()
    assert (error["type"], error["code"]) == ("error", "not_found")
    assert "seq" not in error
    await client.send({"type": "ping"})
    assert await client.frame() == {"type": "pong"}


@pytest.mark.parametrize(
    ("raw", "request_id"),
    [
        ("nonsense", None),
        ("[1]", None),
        ('"text"', None),
        ("{}", None),
        ('{"type":"unknown","request_id":"r-9"}', "r-9"),
        ('{"type":"message.create","request_id":"r-9"}', "r-9"),
        ('{"type":"message.create","request_id":7,"content":"x"}', None),
        ('{"type":"message.create","request_id":"r-9","content":"x"}', "r-9"),
        ('{"type":"message.create","request_id":"r-9","model":"m","content":"x","attachments":[1]}', "r-9"),
        ('{"type":"resume","message_id":"x","last_seq":-1}', None),
        (b"\xff\xfe", None),
        ('{"type":"ping"', None),
    ],
)
async def test_frames_that_are_not_valid(
    runs: FakeRuns, client: SocketClient, raw: str | bytes, request_id: str | None
) -> None:
    """An error frame that names the request where it can; the socket goes on."""
    await client.send(raw)
    error = await client.frame()
    assert (error["type"], error["code"]) == ("error", "invalid_request_error")
    assert error.get("request_id") == request_id
    await client.send({"type": "ping"})
    assert await client.frame() == {"type": "pong"}
    assert runs.asked == []


async def test_a_frame_too_long_closes(client: SocketClient) -> None:
    """1009, counted in bytes."""
    await client.send(create(content="é" * 140_000))
    assert await client.close_code() == 1009


async def test_refused_messages_name_their_request(runs: FakeRuns, client: SocketClient) -> None:
    """The error of a service, with its code and the request it belongs to; a bug says no more than that."""
    runs.fails = ModelNotFound("There is no assistant `x`.")
    await client.send(create())
    assert await client.frame() == {
        "type": "error",
        "code": "model_not_found",
        "message": "There is no assistant `x`.",
        "request_id": "r-1",
    }
    runs.fails = RuntimeError("secret detail")
    await client.send(create())
    error = await client.frame()
    assert error["code"] == "internal_error"
    assert "secret" not in error["message"]


async def test_a_revoked_key_ends_the_socket_at_its_next_message(
    runs: FakeRuns, client: SocketClient
) -> None:
    """Nothing is started for it."""
    runs.refuse = NotSignedIn()
    await client.send(create())
    assert await client.close_code() == 4401
    assert runs.asked == []


async def test_a_revoked_key_reads_no_further(runs: FakeRuns) -> None:
    """A message it follows goes on, without it."""
    client = SocketClient(runs, limits=SocketLimits(recheck_key_s=0.1))
    await client.open()
    await client.send(create())
    message_id = uuid.UUID((await client.frame())["message_id"])
    runs.refuse = NotSignedIn()
    await asyncio.sleep(0.15)
    runs.tell(message_id, {"type": "message.delta", "text": "secret"})
    assert (await client.frame())["type"] == "error"
    message = await client.message()
    assert message == {"type": "websocket.close", "code": 4401}
    await client.leave()


async def test_a_database_that_is_away_keeps_who_is_in(runs: FakeRuns, client: SocketClient) -> None:
    """A right that cannot be looked up again stays as it was."""
    runs.refuse = Unavailable()
    await client.send(create())
    assert (await client.frame())["type"] == "message.started"


async def test_a_log_that_is_away_asks_to_come_back(runs: FakeRuns, client: SocketClient) -> None:
    """1013: the client resumes later where it was."""
    runs.log_away = True
    await client.send(create())
    assert (await client.frame())["code"] == "unavailable"
    assert await client.close_code() == 1013


async def test_a_socket_follows_eight_at_once(runs: FakeRuns, client: SocketClient) -> None:
    """The ninth is refused, and taken once one has ended."""
    followed = []
    for _ in range(8):
        await client.send(create())
        followed.append(uuid.UUID((await client.frame())["message_id"]))
    await client.send(create(request_id="r-9th"))
    error = await client.frame()
    assert (error["code"], error["request_id"]) == ("rate_limit_exceeded", "r-9th")
    runs.tell(followed[0], {"type": "message.completed"})
    assert (await client.frame())["type"] == "message.completed"
    await asyncio.sleep(0.05)
    await client.send(create())
    assert (await client.frame())["type"] == "message.started"


async def test_frames_that_come_too_fast_are_refused(runs: FakeRuns) -> None:
    """Beyond the burst each frame is an error, and a pause makes it good."""
    client = SocketClient(runs, limits=SocketLimits(frames_per_s=20, frame_burst=5))
    await client.open()
    for _ in range(7):
        await client.send({"type": "ping"})
    kinds = [(await client.frame())["type"] for _ in range(7)]
    assert kinds == ["pong"] * 5 + ["error"] * 2
    await asyncio.sleep(0.2)
    await client.send({"type": "ping"})
    assert (await client.frame())["type"] == "pong"
    await client.leave()


async def test_a_client_that_does_not_read_is_closed(runs: FakeRuns) -> None:
    """After the time for one frame: 1013, the follower gone, the message untouched."""
    client = SocketClient(runs, limits=SocketLimits(send_s=0.2))
    await client.open()
    await client.send(create())
    message_id = uuid.UUID((await client.frame())["message_id"])
    client.stalled.set()
    runs.tell(message_id, {"type": "message.delta", "text": "x"})
    await asyncio.sleep(0.5)
    client.stalled.clear()
    assert await client.close_code() == 1013
    assert runs.following == 0
    assert runs.stopped == []
    await client.leave()
