"""Webhooks whose job is gone, or whose secret cannot be read, come to an end that people see."""

import base64
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from factories.tenants import make_principal, make_tenant
from fakes.clocks import FrozenClock

from kernel.backends import backends
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.jobs import claim_job
from substrate.keyring import keyring
from substrate.models import Job
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit
from tenants.models import Tenant, User, Webhook, WebhookDelivery
from tenants.services import change_tenant, emit_event
from tenants.services.deleting import ask_deletion
from tenants.services.webhook_mending import OVERDUE, resume_stranded_webhooks, settle_restored_webhooks
from tenants.services.webhook_sending import live_secrets, send_due
from tenants.services.webhooks import change_webhook, create_webhook, rotate_webhook_secret, send_test
from tenants.types import Principal, Role, TenantState
from tenants.webhook_types import Outcome, WebhookAnswer

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LATE = FrozenClock(NOW + OVERDUE + timedelta(minutes=1))


@dataclass
class Receiver:
    """Takes everything."""

    seen: list[bytes] = field(default_factory=list)

    def check(self, url: str) -> None:
        """Every address will do."""

    async def post(self, url: str, *, headers: dict[str, str], body: bytes) -> WebhookAnswer:
        self.seen.append(body)
        return WebhookAnswer(Outcome.OK, 200, 7)


@pytest.fixture
async def receiver(transactional_db: None) -> AsyncIterator[Receiver]:
    found = Receiver()
    backends.replace("webhook_send", found)
    yield found
    await backends.close()
    close_units()


@pytest.fixture
def other_keyring() -> Iterator[None]:
    """From the time a test calls `lose_keyring` the installation has another one; afterwards its own again."""
    yield
    keyring().replace(dict(settings.KEYRING))


def lose_keyring() -> None:
    keyring().replace({1: base64.b64decode("QUJD" * 11)[:32]})


def made() -> tuple[Tenant, Principal, uuid.UUID]:
    tenant = make_tenant()
    who = make_principal(tenant, role=Role.ADMIN)
    url = "https://hooks.example.com/in"
    issued = create_webhook(principal=who, name="ops", url=url, events=("document.failed",))
    return tenant, who, issued.view.id


def emit(tenant: Tenant, at: datetime = NOW) -> int:
    with tenant_scope(tenant.id):
        return emit_event(tenant_id=tenant.id, event="document.failed", told={}, clock=FrozenClock(at))


def hook(tenant: Tenant) -> Webhook:
    with tenant_scope(tenant.id, read_only=True):
        return Webhook.objects.get()


def ends(tenant: Tenant) -> list[tuple[str, str]]:
    with tenant_scope(tenant.id, read_only=True):
        return list(WebhookDelivery.objects.order_by("id").values_list("state", "outcome"))


def lose_jobs() -> None:
    with system_scope("tests"):
        Job.objects.all().delete()


def restored() -> int:
    with system_scope("tests"):
        Job.objects.all().delete()
        return settle_restored_webhooks(NOW)


async def work(clock: FrozenClock) -> int:
    count = 0
    while (job := await run_unit(lambda: claim_job(owner="test", clock=clock))) is not None:
        await send_due(job, clock=clock)
        await run_unit(_done, job.id)
        count += 1
    return count


def _done(job_id: uuid.UUID) -> None:
    with system_scope("tests"):
        Job.objects.filter(id=job_id).update(state=Job.State.DONE)


async def test_after_a_restore_what_waited_has_failed_and_what_comes_is_sent(receiver: Receiver) -> None:
    tenant, who, hook_id = await run_unit(made)
    await run_unit(emit, tenant)
    await run_unit(lambda: send_test(principal=who, webhook_id=hook_id, clock=FrozenClock(NOW)))
    assert await run_unit(restored) == 2
    assert await run_unit(ends, tenant) == [("failed", "restored")] * 2
    assert (await run_unit(hook, tenant)).run_at is None
    assert await work(LATE) == 0
    await run_unit(emit, tenant, LATE.now())
    await run_unit(lambda: send_test(principal=who, webhook_id=hook_id, clock=LATE))
    assert await work(LATE) == 1
    assert len(receiver.seen) == 2


async def test_an_endpoint_whose_job_is_gone_gets_another_after_an_hour_and_one_that_waits_does_not(
    receiver: Receiver,
) -> None:
    lost, _, _ = await run_unit(made)
    await run_unit(emit, lost)
    await run_unit(lose_jobs)
    waits, _, _ = await run_unit(made)
    await run_unit(emit, waits)
    turn = (await run_unit(hook, waits)).turn
    assert await resume_stranded_webhooks(clock=FrozenClock(NOW + OVERDUE)) == 0
    assert await resume_stranded_webhooks(clock=LATE) == 1
    assert await resume_stranded_webhooks(clock=LATE) == 0
    assert (await run_unit(hook, waits)).turn == turn
    assert await work(LATE) == 2
    assert await run_unit(ends, lost) == await run_unit(ends, waits) == [("delivered", "ok")]


async def test_one_for_which_nothing_waits_is_put_right_without_a_job(receiver: Receiver) -> None:
    tenant, _, _ = await run_unit(made)
    await run_unit(_put, tenant, NOW)
    assert await resume_stranded_webhooks(clock=LATE) == 1
    assert (await run_unit(hook, tenant)).run_at is None
    assert await work(LATE) == 0


def _put(tenant: Tenant, run_at: datetime) -> None:
    with tenant_scope(tenant.id):
        Webhook.objects.update(run_at=run_at)


@pytest.mark.django_db
def test_endpoints_are_locked_before_the_chain_of_acts() -> None:
    """Who stops an endpoint by itself holds it and writes an act: the other way round the two would wait for each other."""
    tenant = make_tenant("acme")
    with tenant_scope(tenant.id):
        Webhook.objects.create(name="ops", url="https://h.test/", secret="", events=["tenant.suspended"])
        Webhook.objects.create(name="too", url="https://h.test/", secret="", events=["tenant.deletion_asked"])
    boss = make_principal(make_tenant("home"), is_operator=True)
    for act in (
        lambda: change_tenant(tenant_id=tenant.id, state=TenantState.SUSPENDED),
        lambda: ask_deletion(principal=boss, tenant_id=tenant.id, confirm="acme"),
    ):
        with CaptureQueriesContext(connection) as seen:
            act()
        tables = [each["sql"] for each in seen.captured_queries]
        last_hook = max(at for at, sql in enumerate(tables) if '"tenants_webhook"' in sql)
        first_chain = min(at for at, sql in enumerate(tables) if "chain" in sql)
        assert last_hook < first_chain


async def test_switching_off_and_on_begins_anew(receiver: Receiver) -> None:
    tenant, who, hook_id = await run_unit(made)
    await run_unit(lambda: send_test(principal=who, webhook_id=hook_id, clock=FrozenClock(NOW)))
    await run_unit(lose_jobs)
    for enabled in (False, True):
        await run_unit(
            lambda enabled=enabled: change_webhook(
                principal=who, webhook_id=hook_id, enabled=enabled, clock=FrozenClock(NOW)
            )
        )
    await run_unit(emit, tenant)
    assert await work(FrozenClock(NOW)) == 1
    assert await run_unit(ends, tenant) == [("delivered", "ok")] * 2


async def test_a_secret_that_cannot_be_read_stops_the_endpoint_once_and_a_new_one_mends_it(
    receiver: Receiver, other_keyring: None
) -> None:
    tenant, who, hook_id = await run_unit(made)
    await run_unit(emit, tenant)
    lose_keyring()
    clock = FrozenClock(NOW)
    assert await work(clock) == 1
    assert await run_unit(ends, tenant) == [("failed", "secret")]
    found = await run_unit(hook, tenant)
    assert (found.stopped, found.run_at) == ("secret", None)
    # A test tells it at once; nothing is tried again.
    await run_unit(lambda: send_test(principal=who, webhook_id=hook_id, clock=clock))
    assert await work(clock) == 1
    assert await run_unit(ends, tenant) == [("failed", "secret")] * 2
    assert receiver.seen == []
    acts = await run_unit(lambda: acts_of_tenant(tenant_id=tenant.id, limit=50))
    assert [each.act for each in acts if each.kind == "webhook"] == ["tested", "stopped", "created"]
    # The old one does not sign beside the new one, for nobody can read it.
    await run_unit(
        lambda: rotate_webhook_secret(
            principal=who, webhook_id=hook_id, grace=timedelta(hours=2), clock=clock
        )
    )
    assert (await run_unit(hook, tenant)).second_secret == ""
    await run_unit(lambda: change_webhook(principal=who, webhook_id=hook_id, enabled=True, clock=clock))
    await run_unit(emit, tenant)
    assert await work(clock) == 1
    assert len(receiver.seen) == 1


async def test_a_second_secret_that_cannot_be_read_is_passed_over(
    receiver: Receiver, other_keyring: None
) -> None:
    tenant, who, hook_id = await run_unit(made)
    clock = FrozenClock(NOW)
    rotate = lambda: rotate_webhook_secret(  # noqa: E731 - called in two places
        principal=who, webhook_id=hook_id, grace=timedelta(hours=2), clock=clock
    )
    await run_unit(rotate)
    old = (await run_unit(hook, tenant)).second_secret
    lose_keyring()
    fresh = await run_unit(rotate)
    await run_unit(_put_second, tenant, old)
    found = await run_unit(hook, tenant)
    assert live_secrets(found, NOW) == (fresh.secret,)
    await run_unit(emit, tenant)
    assert await work(clock) == 1
    assert await run_unit(ends, tenant) == [("delivered", "ok")]


def _put_second(tenant: Tenant, stored: str) -> None:
    with tenant_scope(tenant.id):
        Webhook.objects.update(second_secret=stored, second_until=NOW + timedelta(hours=2))


async def test_that_one_cannot_sign_is_written_to_the_heads_of_its_own_tenant(
    receiver: Receiver, other_keyring: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MAIL_CONFIGURED", True)
    tenant, who, _ = await run_unit(made)
    await run_unit(lambda: make_principal(make_tenant(), role=Role.OWNER))
    await run_unit(emit, tenant)
    lose_keyring()
    job = await run_unit(lambda: claim_job(owner="test", clock=FrozenClock(NOW)))
    assert job is not None
    await send_due(job, clock=FrozenClock(NOW))
    assert await run_unit(addresses) == [await run_unit(address_of, who)]


def addresses() -> list[str]:
    with system_scope("tests", read_only=True):
        return [job.payload["to"] for job in Job.objects.filter(kind="tenants.limit_letter")]


def address_of(who: Principal) -> str:
    return User.objects.get(id=who.user_id).email
