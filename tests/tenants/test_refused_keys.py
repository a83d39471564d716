"""Refused keys are in the audit of their tenant: genuine ones alone, once an hour, at every door."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from factories.tenants import make_key, make_membership, make_tenant, make_user
from fakes.clocks import FrozenClock
from fakes.sockets import FakeRuns, SocketClient
from structlog.testing import capture_logs

from console.api.live import Live
from kernel.backends import backends
from kernel.errors import NotSignedIn, PermissionDenied, Unavailable
from substrate.audit import ActView, acts_of_tenant
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.keys import checksum
from tenants.models import ApiKey, Membership, Tenant, User
from tenants.refusals import RefusedKeys
from tenants.services import authenticate_key, authenticate_key_now, refuse_key_in_address, revoke_api_key
from tenants.types import IssuedKey

pytestmark = pytest.mark.django_db


def refusals(tenant: Tenant) -> list[ActView]:
    return [each for each in acts_of_tenant(tenant_id=tenant.id, limit=50) if each.act == "refused"]


def reasons(tenant: Tenant) -> list[str]:
    return [str(each.after["reason"]) for each in refusals(tenant)]


def expire(key: IssuedKey) -> None:
    with system_scope("tests"):
        row = ApiKey.objects.get(id=key.id)
        row.expires_at = row.created_at - timedelta(seconds=1)
        row.save()


def knock(key: str, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises((NotSignedIn, PermissionDenied)):
            authenticate_key_now(key)


def test_each_reason_is_on_record_once() -> None:
    tenant = make_tenant("acme")
    revoked, expired = make_key(tenant), make_key(tenant)
    revoke_api_key(prefix=revoked.prefix)
    expire(expired)
    knock(revoked.key, 3)
    knock(expired.key, 3)
    assert sorted(reasons(tenant)) == ["expired", "revoked"]
    found = next(each for each in refusals(tenant) if each.after["reason"] == "revoked")
    assert (found.kind, found.object_id) == ("api_key", str(revoked.id))
    assert (found.actor_kind, found.actor) == ("key", f"atr_{revoked.prefix}")
    assert revoked.key not in repr(refusals(tenant))


def test_disabled_and_switched_off_people_are_told_apart() -> None:
    tenant = make_tenant("acme")
    disabled, gone = make_membership(tenant), make_membership(tenant)
    keys = make_key(tenant, user=disabled.user), make_key(tenant, user=gone.user)
    with system_scope("tests"):
        Membership.objects.filter(id=disabled.id).update(disabled_at=disabled.created_at)
    User.objects.filter(id=gone.user_id).update(is_active=False)
    for each in keys:
        knock(each.key)
    assert sorted(reasons(tenant)) == ["disabled", "inactive"]


def test_guessed_keys_write_nothing() -> None:
    tenant = make_tenant("acme")
    key = make_key(tenant)
    revoke_api_key(prefix=key.prefix)
    body = f"atr_{key.prefix}_{'x' * 40}"
    knock(body + checksum(body), 5)
    assert reasons(tenant) == []


def test_another_process_writes_it_no_second_time_and_an_hour_later_it_is_news() -> None:
    tenant = make_tenant("acme")
    key = make_key(tenant)
    revoke_api_key(prefix=key.prefix)
    knock(key.key)
    backends.replace("refused_keys", RefusedKeys())
    knock(key.key)
    assert reasons(tenant) == ["revoked"]
    backends.replace("refused_keys", RefusedKeys())
    with pytest.raises(NotSignedIn):
        authenticate_key_now(key.key, clock=FrozenClock(timezone.now() + timedelta(hours=2)))
    assert reasons(tenant) == ["revoked", "revoked"]


def test_the_memory_is_bounded() -> None:
    memory = RefusedKeys(most=10)
    first = uuid.uuid4()
    assert memory.is_first(first, "expired")
    assert not memory.is_first(first, "expired")
    assert memory.is_first(first, "revoked")
    for _ in range(20):
        memory.is_first(uuid.uuid4(), "expired")
    assert memory.is_first(first, "expired")


def test_what_could_not_be_written_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_tenant("acme")
    key = make_key(tenant)
    revoke_api_key(prefix=key.prefix)

    def away(**_: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr("tenants.services.refusals.record_act", away)
        knock(key.key)
    assert [(each["event"], each["log_level"]) for each in logs] == [("refusal_not_noted", "warning")]
    assert reasons(tenant) == []
    knock(key.key, 2)
    assert reasons(tenant) == ["revoked"]


@pytest.mark.django_db(transaction=True)
def test_what_gave_way_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_tenant("acme")
    key = make_key(tenant)
    revoke_api_key(prefix=key.prefix)

    def held(**_: object) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr("tenants.services.refusals.record_act", held)
        knock(key.key)
    assert ("refusal_not_noted", "warning") in [(each["event"], each["log_level"]) for each in logs]
    knock(key.key, 2)
    assert reasons(tenant) == ["revoked"]


def test_a_key_that_asks_for_another_tenant() -> None:
    tenant = make_tenant("acme")
    make_tenant("rival")
    key = make_key(tenant)
    client = Client(headers={"authorization": f"Bearer {key.key}", "x-atrium-tenant": "rival"})
    assert client.get("/api/v1/me").status_code == 403
    assert reasons(tenant) == ["another_tenant"]


def test_a_key_in_an_address_is_refused_at_rest() -> None:
    tenant = make_tenant("acme")
    key = make_key(tenant)
    answer = Client().get(f"/api/v1/me?api_key={key.key}")
    assert answer.status_code == 401
    assert "address" in answer.json()["detail"]
    assert key.key not in answer.content.decode()
    assert reasons(tenant) == ["in_address"]


def test_a_key_in_an_address_is_refused_beside_a_good_header_too() -> None:
    tenant = make_tenant("acme")
    key = make_key(tenant)
    client = Client(headers={"authorization": f"Bearer {key.key}"})
    assert client.get("/api/v1/me").status_code == 200
    assert client.get(f"/api/v1/me?api_key={key.key}").status_code == 401
    assert reasons(tenant) == ["in_address"]


@pytest.mark.django_db(transaction=True)
async def test_a_key_in_an_address_opens_no_socket_and_no_stream() -> None:
    tenant, good, other = await run_unit(_two_keys)
    runs = FakeRuns()
    socket = SocketClient(runs, query=f"key={good.key}")
    assert (await socket.open())["type"] == "websocket.accept"
    assert await socket.close_code() == 4401
    assert runs.keys == []
    await socket.leave()
    assert await run_unit(reasons, tenant) == ["in_address"]
    assert [each.address for each in await run_unit(refusals, tenant)] == ["192.0.2.7"]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "method": "GET",
        "client": ("192.0.2.8", 50_000),
        "query_string": f"key={other.key}".encode(),
        "headers": [(b"authorization", f"Bearer {good.key}".encode())],
    }
    async with asyncio.timeout(5):
        await Live()(scope, _nothing, send)
    assert sent[0]["status"] == 401
    assert await run_unit(reasons, tenant) == ["in_address", "in_address"]
    assert {each.address for each in await run_unit(refusals, tenant)} == {"192.0.2.7", "192.0.2.8"}


async def _nothing() -> Any:
    return {"type": "http.disconnect"}


@pytest.mark.django_db(transaction=True)
async def test_the_data_plane_writes_the_same() -> None:
    tenant, good, revoked = await run_unit(_two_keys)
    for _ in range(3):
        with pytest.raises(NotSignedIn):
            await authenticate_key(revoked.key)
        with pytest.raises(NotSignedIn):
            await refuse_key_in_address(f"key={good.key}".encode())
    assert await authenticate_key(good.key)
    await refuse_key_in_address(b"nothing=atr_here")
    assert sorted(await run_unit(reasons, tenant)) == ["in_address", "revoked"]


def _two_keys() -> tuple[Tenant, IssuedKey, IssuedKey]:
    tenant = make_tenant("acme")
    make_user()
    good, revoked = make_key(tenant), make_key(tenant)
    revoke_api_key(prefix=revoked.prefix)
    return tenant, good, revoked
