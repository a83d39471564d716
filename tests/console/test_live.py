"""Live changes: who hears of what, when a stream ends, what a slow reader gets, and how many there may be."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings
from factories.tenants import make_key, make_membership, make_tenant, make_user, session_client

from console.api.live import Credential, Live, LiveLimits
from console.live_hub import LiveHub
from kernel.backends import backends
from kernel.errors import NotSignedIn, PermissionDenied
from substrate.changes import ChangeTail, record_change
from substrate.ports import ChangeEvent
from substrate.units import run_unit
from tenants.services import revoke_api_key
from tenants.session_engine import SessionStore
from tenants.types import Principal, Role

QUICK = LiveLimits(ping_s=0.05, recheck_s=5.0, gather_s=0.0, write_s=0.2)
ACME, OTHER = uuid.uuid4(), uuid.uuid4()


def principal(*permissions: str, tenant_id: uuid.UUID = ACME, user_id: uuid.UUID | None = None) -> Principal:
    return Principal(
        tenant_id, "acme", Role.MEMBER, user_id or uuid.uuid4(), permissions=frozenset(permissions)
    )


def event(kind: str, object_id: object = "x", tenant_id: uuid.UUID | None = ACME) -> ChangeEvent:
    return ChangeEvent(1, kind, tenant_id, str(object_id))


class Stream:
    """The client's end of one stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.left = asyncio.Event()
        self.stuck = False
        self.opened = asyncio.Event()
        self._news = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        if self.stuck:
            await asyncio.Event().wait()
        self.body += message["body"]
        self.opened.set()
        self.ended = not message.get("more_body", False)
        self._news.set()

    def events(self, name: str) -> list[Any]:
        blocks = [block.split("\n") for block in self.body.decode().split("\n\n")]
        return [
            json.loads(lines[-1].removeprefix("data: ")) for lines in blocks if lines[0] == f"event: {name}"
        ]

    async def until(self, name: str, count: int = 1) -> list[Any]:
        async with asyncio.timeout(5):
            while len(self.events(name)) < count:
                self._news.clear()
                await self._news.wait()
        return self.events(name)


@asynccontextmanager
async def listening(
    live: Live, query: str = "", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    stream = Stream()
    sent = {"authorization": "Bearer atr_test"} if headers is None else headers
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/live",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    task = asyncio.create_task(live(scope, stream.receive, stream.send))
    opened = asyncio.create_task(stream.opened.wait())
    await asyncio.wait({task, opened}, return_when=asyncio.FIRST_COMPLETED)
    opened.cancel()
    yield stream
    stream.left.set()
    await asyncio.wait_for(task, 2)


def live_as(*answers: Principal | Exception, limits: LiveLimits = QUICK) -> Live:
    """Credentials are answered one after the other; the last answer stays."""
    waiting = list(answers)

    async def who_is(credential: Credential) -> Principal:
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(found, Exception):
            raise found
        return found

    return Live(who_is=who_is, limits=limits)


@pytest.fixture
async def hub() -> LiveHub:
    hub = LiveHub(per_account=2, in_all=3, holds=3)
    backends.replace("live_changes", hub)
    return hub


async def test_changes_of_the_own_tenant_are_told_by_right(hub: LiveHub) -> None:
    async with listening(live_as(principal("knowledge.inspect", "models.read"))) as stream:
        for each in (
            event("document", "base"),
            event("document", "base"),
            event("document", "theirs", OTHER),
            event("api_key", "prefix"),
            event("model", "m", None),
            event("backup", "b", None),
        ):
            hub.on_change(each)
        told = await stream.until("change", 2)
    assert told == [
        {"kind": "document", "id": "base", "tenant": str(ACME)},
        {"kind": "model", "id": "m", "tenant": None},
    ]
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-accel-buffering"] == "no"
    assert len(hub) == 0


async def test_an_operator_hears_all_tenants_when_asking_for_the_platform(hub: LiveHub) -> None:
    who = principal("knowledge.inspect", "platform.operate")
    async with listening(live_as(who), "scope=platform") as stream:
        hub.on_change(event("document", "theirs", OTHER))
        hub.on_change(event("backup", "b", None))
        told = await stream.until("change", 2)
    assert [each["tenant"] for each in told] == [str(OTHER), None]


async def test_the_platform_is_the_operators_alone(hub: LiveHub) -> None:
    async with listening(live_as(principal("knowledge.inspect")), "scope=platform") as stream:
        assert stream.status == 403
    assert json.loads(stream.body)["code"] == "permission_denied"
    assert len(hub) == 0


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("", {"authorization": "Basic abc"}, 401),
        (
            "",
            {"cookie": f"{settings.SESSION_COOKIE_NAME}=x", "origin": "https://evil.example", "host": "a"},
            403,
        ),
        ("scope=everything", {"authorization": "Bearer atr_x"}, 400),
    ],
    ids=["nobody", "scheme", "origin", "scope"],
)
async def test_what_is_refused(hub: LiveHub, query: str, headers: dict[str, str], status: int) -> None:
    async with listening(live_as(principal()), query, headers) as stream:
        assert stream.status == status
    assert stream.headers["content-type"] == "application/problem+json"


async def test_a_refusal_is_said_in_the_language_of_the_reader(hub: LiveHub) -> None:
    sent = {"authorization": "Bearer atr_x", "cookie": "atrium_language=de"}
    async with listening(live_as(principal()), "scope=everything", sent) as stream:
        assert stream.status == 400
    assert json.loads(stream.body)["detail"] == "scope ist tenant oder platform."


async def test_a_silent_stream_is_pinged(hub: LiveHub) -> None:
    async with listening(live_as(principal())) as stream:
        assert len(await stream.until("ping", 3)) >= 3


async def test_who_comes_back_fetches_everything_again(hub: LiveHub) -> None:
    headers = {"authorization": "Bearer atr_test", "last-event-id": "7"}
    async with listening(live_as(principal()), headers=headers) as stream:
        assert stream.events("reset") == [{}]


async def test_more_than_can_be_held_is_told_as_a_reset(hub: LiveHub) -> None:
    slow = replace(QUICK, gather_s=0.05)
    async with listening(live_as(principal("assistants.read"), limits=slow)) as stream:
        for number in range(10):
            hub.on_change(event("assistant", number))
        await stream.until("reset")
        assert stream.events("change") == []
        hub.on_change(event("assistant", "later"))
        assert [each["id"] for each in await stream.until("change")] == ["later"]


@pytest.mark.parametrize(
    ("later", "reason"),
    [(NotSignedIn(), "signed_out"), (PermissionDenied(), "not_allowed")],
    ids=["session", "membership"],
)
async def test_a_stream_ends_when_its_rights_do(hub: LiveHub, later: Exception, reason: str) -> None:
    who = principal("knowledge.inspect")
    async with listening(live_as(who, later)) as stream:
        hub.on_change(event("membership", who.user_id))
        assert await stream.until("end") == [{"reason": reason}]
    assert stream.ended


async def test_rights_are_looked_at_from_time_to_time(hub: LiveHub) -> None:
    often = replace(QUICK, recheck_s=0.05)
    async with listening(live_as(principal(), NotSignedIn(), limits=often)) as stream:
        assert await stream.until("end") == [{"reason": "signed_out"}]


async def test_fewer_rights_are_felt_at_once(hub: LiveHub) -> None:
    who = principal("knowledge.inspect", "keys.write")
    fewer = replace(who, permissions=frozenset({"knowledge.inspect"}))
    async with listening(live_as(who, fewer)) as stream:
        hub.on_change(event("membership", who.user_id))
        await asyncio.sleep(0.05)
        hub.on_change(event("api_key", "prefix"))
        hub.on_change(event("document", "base"))
        assert [each["kind"] for each in await stream.until("change")] == ["document"]


async def test_a_leaving_process_ends_its_streams_and_takes_no_more(hub: LiveHub) -> None:
    live = live_as(principal())
    async with listening(live) as stream:
        hub.leave()
        assert await stream.until("end") == [{"reason": "leaving"}]
        async with listening(live) as late:
            assert late.status == 503


async def test_streams_are_limited_by_account_and_in_all(hub: LiveHub) -> None:
    mine, other = live_as(principal()), live_as(principal())
    async with listening(mine), listening(mine):
        async with listening(mine) as third:
            assert third.status == 429
            assert third.headers["retry-after"] == "30"
        async with listening(other), listening(live_as(principal())) as fourth:
            assert fourth.status == 503
    assert len(hub) == 0


async def test_a_reader_that_does_not_read_is_let_go(hub: LiveHub) -> None:
    async with listening(live_as(principal())) as stream:
        stream.stuck = True
        await asyncio.sleep(0.4)
        assert len(hub) == 0


async def test_after_a_restore_everybody_fetches_again(hub: LiveHub) -> None:
    async with listening(live_as(principal())) as stream:
        hub.on_change(event("everything", "", None))
        assert await stream.until("reset") == [{}]


@pytest.mark.django_db(transaction=True)
async def test_a_real_change_reaches_a_real_key_until_it_is_revoked(hub: LiveHub) -> None:
    tenant, other = await run_unit(make_tenant), await run_unit(make_tenant)
    key = await run_unit(make_key, tenant, role=Role.ADMIN)
    tail = ChangeTail()
    await tail.start()
    tail.listen(backends["key_directory"].on_change)
    tail.listen(hub.on_change)
    headers = {"authorization": f"Bearer {key.key}"}
    async with listening(Live(limits=QUICK), headers=headers) as stream:
        for each in (tenant, other):
            await run_unit(record_change, kind="document", object_id="base", tenant_id=each.id)
        await tail.catch_up()
        assert await stream.until("change") == [{"kind": "document", "id": "base", "tenant": str(tenant.id)}]
        await run_unit(revoke_api_key, prefix=key.prefix)
        await tail.catch_up()
        assert await stream.until("end") == [{"reason": "signed_out"}]


@pytest.mark.django_db(transaction=True)
async def test_a_session_is_its_tenant_and_ends_with_its_login(hub: LiveHub) -> None:
    def prepare() -> tuple[str, uuid.UUID]:
        membership = make_membership(make_tenant("acme"), make_user())
        client = session_client(membership)
        return client.session.session_key or "", membership.user_id

    session, user_id = await run_unit(prepare)
    headers = {"cookie": f"{settings.SESSION_COOKIE_NAME}={session}"}
    async with listening(Live(limits=QUICK), "tenant=elsewhere", headers) as foreign:
        assert foreign.status == 403
    async with listening(Live(limits=QUICK), "tenant=acme", headers) as stream:
        assert stream.status == 200
        await run_unit(_end_session, session)
        hub.on_change(event("session", user_id, None))
        assert await stream.until("end") == [{"reason": "signed_out"}]


def _end_session(key: str) -> None:
    SessionStore(key).flush()
