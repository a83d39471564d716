"""Rights that end while something runs, from outside: streams, sockets and Runs are over within two seconds."""

import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes.engine_server import Behaviour
from fakes.installation import Installation
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

pytestmark = pytest.mark.stack

WITHIN_S = 2.0

_SCENE = """
import json
from tenants.services import create_tenant, create_user, issue_api_key

tenant = create_tenant(slug={slug!r}, name="Ending")
boss = create_user(email={slug!r} + "-boss@example.com", tenant_slug={slug!r}, role="owner")
member = create_user(email={slug!r} + "@example.com", tenant_slug={slug!r}, role="member")
key = issue_api_key(tenant_id=tenant.id, name="member's", role="member", user_id=member.member.user_id)
print(json.dumps({{"tenant": str(tenant.id), "member": str(member.member.user_id), "boss": str(boss.member.user_id),
    "key": key.key, "prefix": key.prefix}}))
"""
_ACTS = {
    "key revoked": "from tenants.services import revoke_api_key\nrevoke_api_key(prefix={prefix!r})",
    "membership disabled": (
        "from tenants.services import change_member, operator_principal\n"
        "from tenants.models import User\n"
        "User.objects.filter(id={boss!r}).update(is_operator=True)\n"
        "import uuid\n"
        "who = operator_principal(user_id=uuid.UUID({boss!r}), tenant_id=uuid.UUID({tenant!r}))\n"
        "change_member(principal=who, user_id=uuid.UUID({member!r}), disabled=True)"
    ),
    "tenant suspended": (
        "from tenants.services import change_tenant\nfrom tenants.types import TenantState\nimport uuid\n"
        "change_tenant(tenant_id=uuid.UUID({tenant!r}), state=TenantState.SUSPENDED)"
    ),
}
CODES = {
    "key revoked": ("invalid_api_key", 401, 4401),
    "membership disabled": ("permission_denied", 403, 4403),
    "tenant suspended": ("tenant_suspended", 403, 4403),
}


@dataclass
class Stream:
    """An endless answer of `/v1`, read in a thread of its own; `ended_at` by the clock of the machine."""

    server: str
    key: str
    events: list[str] = field(default_factory=list)
    ended_at: float = 0.0

    def read(self) -> None:
        """To its end."""
        body = {"model": "org/tiny", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        request = urllib.request.Request(
            f"{self.server}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self.key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    self.events.append(line[6:].decode().strip())
        self.ended_at = time.time()


@pytest.fixture
def scene(live: Installation) -> Iterator[dict[str, str]]:
    """A tenant of its own with a member and the member's key; the engine speaks without end."""
    live.engine.behaviour = Behaviour(endless=True, gap_s=0.02)
    yield live.server.run_code(_SCENE.format(slug=f"ending-{uuid.uuid4().hex[:8]}"))
    deadline = time.monotonic() + 5
    while live.engine.running and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize("act", list(_ACTS))
def test_streams_sockets_and_runs_end(live: Installation, scene: dict[str, str], act: str) -> None:
    code, status, close_code = CODES[act]
    stream = Stream(live.server.url, scene["key"])
    reader = threading.Thread(target=stream.read)
    reader.start()
    url = f"ws://127.0.0.1:{live.server.port}/ws/chat"
    with (
        connect(url, subprotocols=["atrium.v1", f"atrium.bearer.{scene['key']}"]) as socket,  # type: ignore[list-item]
        connect(url, subprotocols=["atrium.v1", f"atrium.bearer.{scene['key']}"]) as idle,  # type: ignore[list-item]
    ):
        socket.send(
            json.dumps({"type": "message.create", "request_id": "r", "model": "org/tiny", "content": "Hello"})
        )
        while json.loads(socket.recv(timeout=10))["type"] != "message.delta":
            pass
        while live.engine.running < 2 or not stream.events:
            time.sleep(0.01)
        changed_at = live.server.run_code(
            _ACTS[act].format(**scene) + "\nimport json, time\nprint(json.dumps(time.time()))"
        )
        assert _closed(socket, changed_at) == close_code
        # A socket that says nothing is closed as well.
        assert _closed(idle, changed_at) == close_code
    reader.join(10)
    assert stream.ended_at - changed_at < WITHIN_S
    assert json.loads(stream.events[-1])["error"]["code"] == code
    # The Run that nobody watches any more has ended too: nothing is written for them.
    while live.engine.running and time.time() - changed_at < WITHIN_S:
        time.sleep(0.02)
    assert live.engine.running == 0
    for method, path in (("GET", "/v1/models"), ("GET", "/api/v1/me"), ("GET", "/api/v1/live")):
        answered, body = live.server.request(method, path, key=scene["key"])
        told = body["error"]["code"] if path.startswith("/v1") else body["code"]
        assert (answered, told) == (status, code), path


def _closed(socket: Any, changed_at: float) -> int | None:
    """The code a socket is closed with, soon after the change."""
    try:
        while time.time() - changed_at < 5:
            socket.recv(timeout=5)
    except ConnectionClosed as closed:
        assert time.time() - changed_at < WITHIN_S
        return closed.rcvd.code if closed.rcvd else None
    return None
