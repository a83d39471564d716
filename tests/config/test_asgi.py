"""One application, two planes: which path goes where in which role, and whose word about a client is believed."""

import dataclasses
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from fakes.asgi import AsgiClient

from config import asgi
from config.asgi import Atrium

ROLES = ["all", "gateway", "control", "worker"]


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.ATRIUM = dataclasses.replace(settings.ATRIUM, role=request.param)
    found: str = request.param
    return found


async def test_each_role_serves_its_planes(role: str) -> None:
    client = AsgiClient(Atrium(), key="")
    gateway = (await client.get("/v1/models", headers={"host": "localhost"})).status
    control = (await client.get("/api/v1/me", headers={"host": "localhost"})).status
    assert gateway == (401 if role in ("all", "gateway") else 404)
    assert control == (401 if role in ("all", "control") else 404)
    assert (await client.get("/health/live")).status == 200
    assert (await client.get("/static/none.css")).status == 404


async def test_sockets_have_one_address() -> None:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await Atrium()({"type": "websocket", "path": "/ws/other", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 4404}]


@pytest.mark.parametrize(
    ("client", "forwarded", "status"),
    [
        (("127.0.0.1", 5000), "https", 401),
        (("10.1.2.3", 5000), "https", 401),
        (("127.0.0.1", 5000), "http", 301),
        (("203.0.113.9", 5000), "https", 301),
    ],
    ids=["loopback", "named", "plain", "stranger"],
)
async def test_the_scheme_is_believed_of_trusted_proxies_alone(
    settings: Any, monkeypatch: pytest.MonkeyPatch, client: tuple[str, int], forwarded: str, status: int
) -> None:
    settings.ATRIUM = dataclasses.replace(settings.ATRIUM, trusted_proxies=("10.0.0.0/8",))
    settings.SECURE_SSL_REDIRECT = True
    # Its middleware reads the settings when it is built.
    monkeypatch.setattr(asgi, "_django", ASGIHandler())
    application = Atrium()

    async def from_client(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await application({**scope, "client": client, "scheme": "http", "query_string": b""}, receive, send)

    answered = await AsgiClient(from_client, key="").get(
        "/api/v1/me", headers={"host": "localhost", "x-forwarded-proto": forwarded}
    )
    assert answered.status == status
