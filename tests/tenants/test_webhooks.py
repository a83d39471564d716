"""Webhooks: who says where events go, what is sent, how often it is tried, and when it ends."""

import base64
import hmac
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from factories.tenants import (
    key_client,
    make_key,
    make_membership,
    make_principal,
    make_tenant,
    make_user,
    session_client,
)
from fakes.clocks import FrozenClock

from kernel.backends import backends
from kernel.errors import BadInput
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.jobs import claim_job, run_job
from substrate.models import Job
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit
from tenants.adapters.webhook_http import HttpWebhookSend
from tenants.models import ApiKey, Tenant, Webhook, WebhookDelivery
from tenants.services import change_tenant, emit_event
from tenants.services.participation import TenantsParticipant
from tenants.services.webhook_keys import tell_ending_keys
from tenants.services.webhook_sending import give_up_sending, send_due
from tenants.services.webhooks import create_webhook
from tenants.types import Role, TenantState
from tenants.webhook_signing import sign
from tenants.webhook_types import (
    EVENT_NAMES,
    EVENTS,
    MOST_KEPT,
    MOST_TRIES,
    MOST_WAITING,
    MOST_WEBHOOKS,
    PAUSES,
    Outcome,
    WebhookAnswer,
)

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
URL = "https://hooks.example.com/in?token=t0p"


@dataclass
class Receiver:
    """Takes what is sent, and answers as a test says."""

    outcome: Outcome = Outcome.OK
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def check(self, url: str) -> None:
        if not url.startswith("https://"):
            raise BadInput("https alone", param="url")

    async def post(self, url: str, *, headers: dict[str, str], body: bytes) -> WebhookAnswer:
        self.seen.append((url, headers, body))
        return WebhookAnswer(self.outcome, 200 if self.outcome is Outcome.OK else 500, 7)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    backends.replace("webhook_send", found)
    yield found
    backends.replace("webhook_send", HttpWebhookSend())


@pytest.fixture
async def running(receiver: Receiver, transactional_db: None) -> AsyncIterator[Receiver]:
    # Units of work run outside of the loop, the job inside.
    backends.replace("webhook_send", receiver)
    yield receiver
    await backends.close()
    close_units()


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    raw = "" if body is None else json.dumps(body)
    return client.generic(method, f"/api/v1{path}", raw, content_type="application/json", headers=headers)


def admin_of(tenant: Tenant) -> Client:
    return session_client(make_membership(tenant, make_user(), role=Role.ADMIN))


def make(client: Client, **values: object) -> dict[str, Any]:
    body = {"name": "ops", "url": URL, "events": ["document.failed"], **values}
    answer = send(client, "POST", "/webhooks", body)
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def made_for(tenant: Tenant, *events: str, name: str = "ops") -> tuple[uuid.UUID, str]:
    """An endpoint, and its secret."""
    who = make_principal(tenant, role=Role.ADMIN)
    issued = create_webhook(principal=who, name=name, url=URL, events=events or ("document.failed",))
    return issued.view.id, issued.secret


def emit(tenant: Tenant, event: str = "document.failed", **told: object) -> int:
    with tenant_scope(tenant.id):
        return emit_event(tenant_id=tenant.id, event=event, told=told, clock=FrozenClock(NOW))


def deliveries(tenant: Tenant) -> list[WebhookDelivery]:
    with tenant_scope(tenant.id, read_only=True):
        return list(WebhookDelivery.objects.order_by("id"))


def hook(tenant: Tenant) -> Webhook:
    with tenant_scope(tenant.id, read_only=True):
        return Webhook.objects.get()


def put(tenant: Tenant, **values: object) -> None:
    with tenant_scope(tenant.id):
        Webhook.objects.update(**values)


def acts(tenant: Tenant) -> list[str]:
    return [each.act for each in acts_of_tenant(tenant_id=tenant.id, limit=50) if each.kind == "webhook"]


async def work(clock: FrozenClock) -> int:
    """Run every job that is due by this clock; returns how many."""
    count = 0
    while (job := await run_unit(lambda: claim_job(owner="test", clock=clock))) is not None:
        assert job.kind == "tenants.webhook"
        await send_due(job, clock=clock)
        await run_unit(_done, job.id)
        count += 1
    return count


def _done(job_id: uuid.UUID) -> None:
    with system_scope("tests"):
        Job.objects.filter(id=job_id).update(state=Job.State.DONE)


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As the documentation tells receivers to."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()
    given = [each.removeprefix("v1,") for each in headers["webhook-signature"].split()]
    return any(hmac.compare_digest(wanted, each) for each in given)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its documentation."""
    headers = sign(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        delivery_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_an_event_is_sent_signed_and_noted(running: Receiver) -> None:
    tenant = await run_unit(make_tenant, "acme")
    _, secret = await run_unit(made_for, tenant)
    assert await run_unit(lambda: emit(tenant, document_id=uuid.UUID(int=7), code="too_large")) == 1
    assert await work(FrozenClock(NOW)) == 1
    ((url, headers, body),) = running.seen
    assert url == URL
    assert json.loads(body) == {
        "type": "document.failed",
        "timestamp": "2026-03-10T12:00:00+00:00",
        "tenant": {"id": str(tenant.id), "slug": "acme"},
        "data": {"document_id": str(uuid.UUID(int=7)), "code": "too_large"},
    }
    assert verify(secret, headers, body)
    assert not verify(secret, headers, body + b" ")
    assert not verify(secret, {**headers, "webhook-timestamp": "1"}, body)
    (row,) = await run_unit(deliveries, tenant)
    assert (row.state, row.status, row.took_ms, row.attempts) == ("delivered", 200, 7, 1)
    assert headers["webhook-id"] == str(row.id)
    found = await run_unit(hook, tenant)
    assert (found.run_at, found.failures, found.last_success_at) == (None, 0, NOW)


async def test_only_who_asked_is_told_and_only_of_their_own_tenant(running: Receiver) -> None:
    acme, other = await run_unit(make_tenant), await run_unit(make_tenant)
    await run_unit(lambda: made_for(acme, "limit.reached"))
    await run_unit(lambda: made_for(other, "document.failed"))
    assert await run_unit(lambda: emit(acme)) == 0
    assert await run_unit(lambda: emit(acme, "limit.reached")) == 1
    await work(FrozenClock(NOW))
    (sent,) = [json.loads(body) for _, _, body in running.seen]
    assert sent["tenant"]["slug"] == acme.slug
    assert await run_unit(deliveries, other) == []


async def test_what_fails_is_tried_again_later_with_the_same_id_and_body(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    running.outcome = Outcome.REFUSED
    clock = FrozenClock(NOW)
    assert await work(clock) == 1
    (row,) = await run_unit(deliveries, tenant)
    assert (row.state, row.outcome, row.next_at - NOW) == ("waiting", "refused", PAUSES[0])
    assert await work(clock) == 0
    running.outcome = Outcome.OK
    assert await work(FrozenClock(NOW + PAUSES[0])) == 1
    first, second = running.seen
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert first[2] == second[2]
    assert first[1]["webhook-timestamp"] != second[1]["webhook-timestamp"]
    (row,) = await run_unit(deliveries, tenant)
    assert (row.state, row.attempts) == ("delivered", 2)
    assert (await run_unit(hook, tenant)).failures == 0


async def run_to_the_end(tenant: Tenant, start: datetime = NOW) -> datetime:
    """Let time pass until nothing waits; returns when the last job ran."""
    clock = FrozenClock(start)
    for _ in range(MOST_TRIES * 3):
        await work(clock)
        due = (await run_unit(hook, tenant)).run_at
        if due is None:
            break
        clock = FrozenClock(max(due, clock.now()))
    return clock.now()


async def test_after_the_last_try_the_endpoint_is_disabled(
    running: Receiver,
) -> None:
    tenant = await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    running.outcome = Outcome.TIMEOUT
    over = await run_to_the_end(tenant)
    assert len(running.seen) == MOST_TRIES
    assert timedelta(hours=8) < over - NOW < timedelta(hours=10)
    (row,) = await run_unit(deliveries, tenant)
    assert (row.state, row.outcome, row.attempts) == ("failed", "timeout", MOST_TRIES)
    assert (await run_unit(hook, tenant)).stopped == "failing"
    assert (await run_unit(acts, tenant))[0] == "stopped"
    # Nothing more is queued for it.
    assert await run_unit(lambda: emit(tenant)) == 0


async def test_the_heads_of_the_tenant_get_a_letter_where_mail_is_on(
    running: Receiver, monkeypatch: pytest.MonkeyPatch, mailoutbox: list[Any]
) -> None:
    monkeypatch.setattr(settings, "MAIL_CONFIGURED", True)
    tenant = await run_unit(lambda: make_tenant(name="Acme"))
    await run_unit(lambda: make_membership(make_tenant(), make_user("owner@other.test"), role=Role.OWNER))
    await run_unit(lambda: make_membership(tenant, make_user("owner@acme.test"), role=Role.OWNER))
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    running.outcome = Outcome.GONE
    job = await run_unit(lambda: claim_job(owner="test", clock=FrozenClock(NOW)))
    assert job is not None
    await send_due(job, clock=FrozenClock(NOW))
    while (letter := await run_unit(lambda: claim_job(owner="test"))) is not None:
        await run_job(letter)
    told = [each for each in mailoutbox if each.to == ["owner@acme.test"]]
    assert [each.subject for each in told] == ["Acme: the webhook ops is switched off"]
    assert not [each for each in mailoutbox if each.to == ["owner@other.test"]]
    assert "410 Gone" in told[0].body
    assert (await run_unit(hook, tenant)).stopped == "gone"


async def test_a_job_sends_nothing_of_an_endpoint_of_another_tenant(running: Receiver) -> None:
    tenant, mine = await run_unit(make_tenant), await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    job = await run_unit(lambda: claim_job(owner="test", clock=FrozenClock(NOW)))
    assert job is not None
    foreign, before = replace(job, tenant_id=mine.id), await run_unit(hook, tenant)
    await send_due(foreign, clock=FrozenClock(NOW))
    await give_up_sending(foreign, "cancelled")
    assert running.seen == []
    after = await run_unit(hook, tenant)
    assert (after.turn, after.run_at) == (before.turn, before.run_at)
    assert [each.state for each in await run_unit(deliveries, tenant)] == ["waiting"]


async def test_one_event_that_its_receiver_never_takes_does_not_stop_the_others(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    running.outcome = Outcome.REFUSED
    await work(FrozenClock(NOW))
    running.outcome = Outcome.OK
    await run_unit(emit, tenant)
    clock = FrozenClock(NOW + timedelta(seconds=5))
    await work(clock)
    assert [row.state for row in await run_unit(deliveries, tenant)] == ["waiting", "delivered"]
    # The first is given up at last; the endpoint goes on, for something went well since.
    with_rest = await run_unit(deliveries, tenant)
    await run_unit(_last_try, tenant, with_rest[0].id)
    running.outcome = Outcome.REFUSED
    await run_to_the_end(tenant, NOW + timedelta(days=1))
    rows = await run_unit(deliveries, tenant)
    assert [row.state for row in rows] == ["failed", "delivered"]
    assert (await run_unit(hook, tenant)).stopped == ""


def _last_try(tenant: Tenant, delivery_id: uuid.UUID) -> None:
    with tenant_scope(tenant.id):
        WebhookDelivery.objects.filter(id=delivery_id).update(
            attempts=MOST_TRIES - 1, created_at=NOW - timedelta(hours=9)
        )
        Webhook.objects.update(last_success_at=NOW)


async def test_an_endpoint_that_fails_is_asked_once_in_a_while_whatever_waits(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    for _ in range(30):
        await run_unit(emit, tenant)
    running.outcome = Outcome.TIMEOUT
    for second in range(60):
        await work(FrozenClock(NOW + timedelta(seconds=second)))
    # At 0, 5, 15 (5+10), 35 (15+20) seconds.
    assert len(running.seen) == 4


async def test_no_more_than_so_many_wait_and_the_rest_is_counted(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    hook_id, _ = await run_unit(made_for, tenant)
    await run_unit(_fill, tenant, hook_id, MOST_WAITING)
    assert [await run_unit(lambda: emit(tenant)) for _ in range(3)] == [0, 0, 0]
    found = await run_unit(hook, tenant)
    assert (found.dropped, len(await run_unit(deliveries, tenant))) == (3, MOST_WAITING)


def _fill(tenant: Tenant, hook_id: uuid.UUID, count: int, state: str = "waiting") -> None:
    with tenant_scope(tenant.id):
        WebhookDelivery.objects.bulk_create(
            WebhookDelivery(webhook_id=hook_id, event="document.failed", body="{}", next_at=NOW, state=state)
            for _ in range(count)
        )


async def test_the_log_keeps_the_last_ones(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    hook_id, _ = await run_unit(made_for, tenant)
    await run_unit(_fill, tenant, hook_id, MOST_KEPT + 20, "failed")
    await run_unit(emit, tenant)
    await work(FrozenClock(NOW))
    rows = await run_unit(deliveries, tenant)
    assert len(rows) == MOST_KEPT
    assert rows[-1].state == "delivered"


async def test_a_worker_that_dies_sends_again_and_a_job_that_was_overtaken_sends_nothing(
    running: Receiver,
) -> None:
    tenant = await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    clock = FrozenClock(NOW)
    job = await run_unit(lambda: claim_job(owner="dies", clock=clock))
    assert job is not None
    later = FrozenClock(NOW + timedelta(minutes=1))
    assert await work(later) == 1
    assert len(running.seen) == 1
    # The dead one's job comes back to life, after another took its place.
    await run_unit(emit, tenant)
    await send_due(job, clock=later)
    assert len(running.seen) == 1
    assert await work(later) == 1
    assert len(running.seen) == 2


async def test_a_cancelled_job_is_not_the_end_of_what_waits(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    job = await run_unit(lambda: claim_job(owner="test", clock=FrozenClock(NOW)))
    assert job is not None
    await run_unit(_done, job.id)
    await give_up_sending(job, "cancelled")
    found = await run_unit(hook, tenant)
    assert found.run_at is not None
    assert await work(FrozenClock(found.run_at + timedelta(seconds=1))) == 1
    assert len(running.seen) == 1


async def test_two_secrets_sign_until_the_old_one_ends(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    client = await run_unit(admin_of, tenant)
    made = await run_unit(make, client)
    path = f"/webhooks/{made['webhook']['id']}/rotate"
    fresh = (await run_unit(send, client, "POST", path, {"grace_hours": 2})).json()
    assert fresh["secret"] != made["secret"]
    assert fresh["webhook"]["second_secret_until"] is not None
    await run_unit(emit, tenant)
    # The grace began when it was rotated, by the system's clock.
    await work(FrozenClock(datetime.now(UTC)))
    await run_unit(emit, tenant)
    await work(FrozenClock(datetime.now(UTC) + timedelta(hours=3)))
    both, one = running.seen
    assert verify(made["secret"], *both[1:])
    assert verify(fresh["secret"], *both[1:])
    assert not verify(made["secret"], *one[1:])
    assert verify(fresh["secret"], *one[1:])


async def test_a_test_is_tried_once_and_disables_nothing(running: Receiver) -> None:
    tenant = await run_unit(make_tenant)
    client = await run_unit(admin_of, tenant)
    made = (await run_unit(make, client))["webhook"]
    path = f"/webhooks/{made['id']}"
    assert (await run_unit(send, client, "PATCH", path, {"enabled": False})).json()["stopped"] == "by_hand"
    first = await run_unit(send, client, "POST", f"{path}/test")
    assert (first.status_code, first.json()["event"]) == (201, "webhook.test")
    assert (await run_unit(send, client, "POST", f"{path}/test")).json()["code"] == "test_waiting"
    running.outcome = Outcome.REFUSED
    await work(FrozenClock(datetime.now(UTC)))
    (row,) = await run_unit(deliveries, tenant)
    assert (row.state, row.status, row.attempts) == ("failed", 500, 1)
    found = await run_unit(hook, tenant)
    assert (found.stopped, found.failures) == ("by_hand", 0)
    log = (await run_unit(send, client, "GET", f"{path}/deliveries")).json()["results"]
    assert [(each["event"], each["outcome"], each["status"]) for each in log] == [
        ("webhook.test", "refused", 500)
    ]


@pytest.mark.django_db
def test_an_endpoint_is_made_shown_changed_and_deleted(receiver: Receiver) -> None:
    tenant = make_tenant()
    client = admin_of(tenant)
    made = make(client, events=["limit.reached", "document.failed"])
    row, secret = made["webhook"], made["secret"]
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret not in send(client, "GET", f"/webhooks/{row['id']}").content.decode()
    with tenant_scope(tenant.id, read_only=True):
        assert secret not in str(Webhook.objects.values().get())
    listed = send(client, "GET", "/webhooks").json()["results"]
    assert [each["name"] for each in listed] == ["ops"]
    path = f"/webhooks/{row['id']}"
    changed = send(client, "PATCH", path, {"name": "on call", "url": URL + "2"}, If_Match=row["version"])
    assert (changed.status_code, changed.json()["name"]) == (200, "on call")
    assert send(client, "PATCH", path, {"name": "x"}, If_Match=row["version"]).status_code == 412
    assert send(client, "DELETE", path).status_code == 204
    assert send(client, "GET", path).status_code == 404
    assert acts(tenant) == ["deleted", "changed", "created"]
    told = str(acts_of_tenant(tenant_id=tenant.id, limit=50))
    assert "t0p" not in told
    assert secret not in told


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://10.0.0.1/"}, {"url": ""}, {"url": "https://" + "a" * 600}, {"events": []},
        {"events": ["no.such"]}, {"events": ["webhook.test"]}, {"name": ""}, {"name": "x" * 300}, {"secret": "mine"},
        {"url": None}, {"events": "document.failed"},
    ],
)  # fmt: skip
def test_bad_input_stores_nothing(receiver: Receiver, wrong: dict[str, object]) -> None:
    tenant = make_tenant()
    body = {"name": "ops", "url": URL, "events": ["document.failed"], **wrong}
    assert send(admin_of(tenant), "POST", "/webhooks", body).status_code == 400
    with tenant_scope(tenant.id, read_only=True):
        assert not Webhook.objects.exists()
    assert acts(tenant) == []


@pytest.mark.django_db
def test_names_are_single_and_endpoints_are_few(receiver: Receiver) -> None:
    client = admin_of(make_tenant())
    make(client)
    body = {"name": "ops", "url": URL, "events": ["document.failed"]}
    assert send(client, "POST", "/webhooks", body).status_code == 409
    for number in range(MOST_WEBHOOKS - 1):
        make(client, name=f"n{number}")
    assert send(client, "POST", "/webhooks", {**body, "name": "one more"}).status_code == 429


@pytest.mark.django_db
def test_foreign_endpoints_do_not_exist_and_members_have_none(receiver: Receiver) -> None:
    acme, other = make_tenant(), make_tenant()
    made = make(admin_of(acme))["webhook"]
    stranger = admin_of(other)
    for method, path in [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test"), ("GET", "/deliveries"),
    ]:  # fmt: skip
        answer = send(stranger, method, f"/webhooks/{made['id']}{path}", {} if method != "GET" else None)
        assert answer.status_code == 404, (method, path)
    assert send(stranger, "GET", "/webhooks").json()["results"] == []
    for role in (Role.MEMBER, Role.VIEWER):
        assert send(key_client(acme, role=role), "GET", "/webhooks").status_code == 403
    assert hook(acme).turn == 0


@pytest.mark.django_db
def test_a_visiting_operator_sees_the_host_and_may_only_disable_and_delete(receiver: Receiver) -> None:
    acme = make_tenant("acme")
    made = make(admin_of(acme))["webhook"]
    home = make_tenant("home")
    operator = session_client(make_membership(home, make_user(is_operator=True), role=Role.OWNER))
    path, visit = f"/webhooks/{made['id']}", {"X-Atrium-Tenant": "acme"}
    shown = send(operator, "GET", path, **visit)
    assert shown.json()["url"] == "https://hooks.example.com/…"
    assert "t0p" not in shown.content.decode()
    body = {"name": "mine", "url": URL, "events": ["document.failed"]}
    for method, where, sent in [
        ("POST", "/webhooks", body), ("POST", f"{path}/rotate", {}), ("POST", f"{path}/test", None),
        ("PATCH", path, {"url": URL}), ("PATCH", path, {"enabled": True}), ("PATCH", path, {"enabled": False, "url": URL}),
    ]:  # fmt: skip
        answer = send(operator, method, where, sent, **visit)
        assert (answer.status_code, answer.json()["code"]) == (403, "visit"), (method, where)
    assert send(operator, "PATCH", path, {"enabled": False}, **visit).status_code == 200
    assert send(operator, "DELETE", path, **visit).status_code == 204


@pytest.mark.django_db
def test_what_waits_for_a_disabled_endpoint_is_not_sent(receiver: Receiver) -> None:
    tenant = make_tenant()
    client = admin_of(tenant)
    made = make(client)["webhook"]
    emit(tenant)
    put(tenant, failures=5)
    send(client, "PATCH", f"/webhooks/{made['id']}", {"enabled": False})
    (row,) = deliveries(tenant)
    assert (row.state, row.outcome) == ("failed", "disabled")
    again = send(client, "PATCH", f"/webhooks/{made['id']}", {"enabled": True}).json()
    assert (again["enabled"], again["stopped"], again["failures"]) == (True, None, 0)


@pytest.mark.django_db
def test_an_event_that_is_rolled_back_was_never_sent(receiver: Receiver) -> None:
    tenant = make_tenant()
    made_for(tenant)

    def fail_afterwards() -> None:
        with tenant_scope(tenant.id):
            emit_event(tenant_id=tenant.id, event="document.failed", told={})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_afterwards()
    assert deliveries(tenant) == []
    assert hook(tenant).run_at is None
    with pytest.raises(LookupError), tenant_scope(tenant.id):
        emit_event(tenant_id=tenant.id, event="no.such", told={})


@pytest.mark.django_db
def test_suspending_and_resuming_a_tenant_is_told(receiver: Receiver) -> None:
    tenant = make_tenant()
    made_for(tenant, "tenant.suspended", "tenant.resumed")
    change_tenant(tenant_id=tenant.id, state=TenantState.SUSPENDED)
    change_tenant(tenant_id=tenant.id, weight=2)
    change_tenant(tenant_id=tenant.id, state=TenantState.ACTIVE)
    assert [row.event for row in deliveries(tenant)] == ["tenant.suspended", "tenant.resumed"]


async def test_keys_that_end_soon_are_told_once(running: Receiver) -> None:
    tenant, other = await run_unit(make_tenant), await run_unit(make_tenant)
    await run_unit(lambda: made_for(tenant, "api_key.expiring"))
    keys = [await run_unit(lambda: make_key(tenant)) for _ in range(4)]
    foreign = await run_unit(lambda: make_key(other))
    await run_unit(_end, [keys[0].prefix, foreign.prefix], NOW + timedelta(days=6))
    await run_unit(_end, [keys[1].prefix], NOW + timedelta(days=8))
    await run_unit(_end, [keys[2].prefix], NOW - timedelta(days=1))
    clock = FrozenClock(NOW)
    assert [await tell_ending_keys(clock=clock) for _ in range(3)] == [1, 0, 0]
    assert await tell_ending_keys(clock=FrozenClock(NOW + timedelta(days=2))) == 1
    sent = [json.loads(row.body)["data"]["prefix"] for row in await run_unit(deliveries, tenant)]
    assert sent == [keys[0].prefix, keys[1].prefix]
    assert await run_unit(deliveries, other) == []


def _end(prefixes: list[str], at: datetime) -> None:
    with system_scope("tests"):
        ApiKey.objects.filter(prefix__in=prefixes).update(expires_at=at)


async def test_a_tenants_archive_has_its_webhooks_without_secrets_and_its_end_takes_them(
    running: Receiver,
) -> None:
    tenant = await run_unit(make_tenant)
    await run_unit(made_for, tenant)
    await run_unit(emit, tenant)
    stored = (await run_unit(hook, tenant)).secret
    participant = TenantsParticipant()
    pieces = [piece async for piece in participant.export(tenant.id)]
    whole = b"".join(piece.content for piece in pieces)
    assert b"hooks.example.com" in whole
    assert stored.encode() not in whole
    while await participant.delete(tenant.id, 100):
        pass
    counts = await participant.count(tenant.id)
    assert counts["tenants.Webhook"] == counts["tenants.WebhookDelivery"] == 0


def test_the_documentation_names_every_event() -> None:
    text = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
    for each in EVENTS:
        assert f"`{each.name}`" in text, each.name
        assert all(f"`{name}`" in text for name in each.holds), each.name
    assert len(EVENT_NAMES) == len(set(EVENT_NAMES))
