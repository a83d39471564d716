"""Events on their way to endpoints: at least once, one at a time for each endpoint, with a bound on everything.

`emit_event` writes deliveries in the transaction of what happened. One job for each endpoint (`Webhook.turn`) sends what
is due and queues the next. A try that failed is repeated after the pauses of `PAUSES`; an endpoint that fails is left
alone for a little while, whatever waits for it. When a delivery is given up and nothing went well since it was made,
the endpoint is disabled, and the tenant's administrators are told. So it is when its secret cannot be read, which is so
after a restore under another keyring.
"""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Min

from kernel.actors import SYSTEM, acting
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Internal
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.jobs import ClaimedJob, enqueue_job
from substrate.keyring import keyring
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import Tenant, Webhook, WebhookDelivery
from tenants.ports import WebhookSend
from tenants.services.mailing import head_addresses, languages_of, queue_letter
from tenants.webhook_signing import sign
from tenants.webhook_types import (
    EVENT_NAMES,
    MOST_KEPT,
    MOST_TRIES,
    MOST_WAITING,
    PAUSES,
    TEST_EVENT,
    DeliveryState,
    Outcome,
    Stopped,
    WebhookAnswer,
)

KIND = "webhook"
JOB = "tenants.webhook"
# One job sends so many, or as many as it can in this time; then other jobs have their turn.
BATCH = 50
RUN_S = 20.0
FIRST_REST = timedelta(seconds=5)
LONGEST_REST = timedelta(minutes=5)
# A job that was cancelled, or whose workers died, is not the end of what waits.
LATER = timedelta(minutes=5)
TEMPLATE = "account/email/webhook.txt"


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery to be sent now. Without `secrets` it cannot be signed."""

    id: uuid.UUID
    url: str
    body: str
    secrets: tuple[str, ...]


def emit_event(
    *, tenant_id: uuid.UUID, event: str, told: Mapping[str, object], clock: Clock = SYSTEM_CLOCK
) -> int:
    """Send an event to every endpoint of the tenant that asked for it, once the transaction at hand is committed.

    `told` is what the event holds, by JSON's kinds, ids and moments; never content. Returns how many endpoints get it.
    """
    if event not in EVENT_NAMES:
        raise LookupError(f"no event is named {event!r}")
    with tenant_scope(tenant_id):
        rows = Webhook.objects.filter(stopped=Stopped.NOT).values_list("id", "events")
        asked = sorted(row_id for row_id, events in rows if event in events)
        if not asked:
            return 0
        body = body_of(Tenant.objects.get(id=tenant_id), event, told, clock.now())
        locked = Webhook.objects.select_for_update().filter(id__in=asked, stopped=Stopped.NOT).order_by("id")
        return sum(queue_delivery(row, event, body, clock) is not None for row in locked)


def body_of(tenant: Tenant, event: str, told: Mapping[str, object], now: datetime) -> str:
    """What is sent: what happened, when, to whom, and what the event holds."""
    whole = {
        "type": event,
        "timestamp": now.isoformat(timespec="seconds"),
        "tenant": {"id": str(tenant.id), "slug": tenant.slug},
        "data": dict(told),
    }
    return json.dumps(whole, separators=(",", ":"), default=_written)


def queue_delivery(
    row: Webhook, event: str, body: str, clock: Clock, *, at_once: bool = False
) -> WebhookDelivery | None:
    """A delivery for the endpoint, whose row is locked; None when too many wait already, which is counted.

    `at_once`: also to an endpoint that is left alone for a little while.
    """
    now = clock.now()
    waiting = WebhookDelivery.objects.filter(webhook=row, state=DeliveryState.WAITING)
    if waiting.count() >= MOST_WAITING:
        Webhook.objects.filter(id=row.id).update(dropped=F("dropped") + 1)
        return None
    made = WebhookDelivery.objects.create(webhook=row, event=event, body=body, next_at=now)
    wanted = now if at_once else now + _rest(row.failures)
    if row.run_at is None or row.run_at > wanted:
        _schedule(row, wanted, clock)
    record_change(kind=KIND, object_id=row.id, tenant_id=row.tenant_id)
    return made


async def send_due(job: ClaimedJob, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """The job: send what is due for one endpoint, and queue the next. Safe to run again: what was told is noted at once."""
    webhook_id, turn = uuid.UUID(job.payload["webhook_id"]), int(job.payload["turn"])
    send: WebhookSend = backends["webhook_send"]
    until = time.monotonic() + RUN_S
    for _ in range(BATCH):
        due = await run_unit(_next_due, job.tenant_id, webhook_id, turn, clock)
        if due is None:
            break
        if not due.secrets:
            await run_unit(_stop_unreadable, job.tenant_id, webhook_id, clock)
            break
        headers = _headers(due, clock.now())
        answer = await send.post(due.url, headers=headers, body=due.body.encode())
        await run_unit(_note, job.tenant_id, due.id, answer, clock)
        if answer.outcome is not Outcome.OK or time.monotonic() > until:
            break
    await run_unit(go_on, job.tenant_id, webhook_id, turn, clock)


async def give_up_sending(job: ClaimedJob, reason: str) -> None:
    """A job that was cancelled, or whose workers died: what waits is tried again later."""
    webhook_id, turn = uuid.UUID(job.payload["webhook_id"]), int(job.payload["turn"])
    await run_unit(go_on, job.tenant_id, webhook_id, turn, SYSTEM_CLOCK, LATER)


def stop_webhook(row: Webhook, why: Stopped, now: datetime) -> None:
    """Disable the endpoint, whose row is locked: what waits for it is not sent any more, but for tests."""
    row.stopped = why.value
    row.save(update_fields=["stopped", "updated_at"])
    waiting = WebhookDelivery.objects.filter(webhook=row, state=DeliveryState.WAITING)
    waiting.exclude(event=TEST_EVENT).update(
        state=DeliveryState.FAILED, outcome=Outcome.DISABLED, finished_at=now, updated_at=now
    )


def live_secrets(row: Webhook, now: datetime) -> tuple[str, ...]:
    """The secrets that sign now, the newest first; none where the newest cannot be read with this keyring."""
    newest = read_secret(row, row.secret)
    if newest is None:
        return ()
    if not row.second_secret or row.second_until is None or row.second_until <= now:
        return (newest,)
    second = read_secret(row, row.second_secret)
    return (newest,) if second is None else (newest, second)


def read_secret(row: Webhook, stored: str) -> str | None:
    """One of the endpoint's secrets; None where this keyring cannot read it."""
    try:
        return keyring().decrypt(stored, context=secret_context(row))
    except Internal:
        return None


def begin_anew(row: Webhook, clock: Clock) -> None:
    """The endpoint, whose row is locked and saved afterwards, is asked at once, if anything waits for it."""
    row.run_at = None
    if WebhookDelivery.objects.filter(webhook=row, state=DeliveryState.WAITING).exists():
        _schedule(row, clock.now(), clock)


def secret_context(row: Webhook) -> str:
    """What an endpoint's secrets are bound to."""
    return f"{row.tenant_id}:webhook:{row.id}"


def _headers(due: Due, now: datetime) -> dict[str, str]:
    signed = sign(
        due.secrets, delivery_id=str(due.id), timestamp=int(now.timestamp()), body=due.body.encode()
    )
    return {"content-type": "application/json", "user-agent": "Atrium-Webhooks/1", **signed}


def _rest(failures: int) -> timedelta:
    """How long an endpoint is left alone that failed so often in a row."""
    return min(FIRST_REST * 2 ** min(failures - 1, 10), LONGEST_REST) if failures else timedelta()


def _schedule(row: Webhook, at: datetime, clock: Clock) -> None:
    """Queue the endpoint's next job in the place of any that is queued."""
    row.turn += 1
    row.run_at = at
    # `updated_at` stays: it is the version of what people edit.
    Webhook.objects.filter(id=row.id).update(turn=row.turn, run_at=at)
    enqueue_job(
        tenant_id=row.tenant_id,
        kind=JOB,
        payload={"webhook_id": str(row.id), "turn": row.turn},
        max_attempts=5,
        delay=max(at - clock.now(), timedelta()),
        clock=clock,
    )


def _next_due(tenant_id: uuid.UUID, webhook_id: uuid.UUID, turn: int, clock: Clock) -> Due | None:
    now = clock.now()
    with tenant_scope(tenant_id, read_only=True):
        row = Webhook.objects.filter(id=webhook_id, turn=turn).first()
        if row is None:
            return None
        rows = WebhookDelivery.objects.filter(webhook=row, state=DeliveryState.WAITING, next_at__lte=now)
        first = rows.order_by("next_at", "id").first()
        return None if first is None else Due(first.id, row.url, first.body, live_secrets(row, now))


def _note(tenant_id: uuid.UUID, delivery_id: uuid.UUID, answer: WebhookAnswer, clock: Clock) -> None:
    """Write how a try ended, and what follows from it."""
    now = clock.now()
    with acting(SYSTEM), tenant_scope(tenant_id):
        # The endpoint's row is the lock of all that waits for it.
        hook = Webhook.objects.select_for_update().filter(deliveries__id=delivery_id).first()
        row = WebhookDelivery.objects.filter(id=delivery_id, state=DeliveryState.WAITING).first()
        if hook is None or row is None:
            return
        row.attempts += 1
        row.outcome, row.status, row.took_ms = answer.outcome.value, answer.status, answer.took_ms
        if answer.outcome is Outcome.OK:
            row.state, row.finished_at = DeliveryState.DELIVERED.value, now
            Webhook.objects.filter(id=hook.id).update(failures=0, last_success_at=now)
        else:
            _note_failure(hook, row, answer, now)
        row.save()
        if row.finished_at is not None:
            _prune(hook)
        record_change(kind=KIND, object_id=hook.id, tenant_id=tenant_id)


def _note_failure(hook: Webhook, row: WebhookDelivery, answer: WebhookAnswer, now: datetime) -> None:
    gone, test = answer.outcome is Outcome.GONE, row.event == TEST_EVENT
    over = gone or test or row.attempts >= MOST_TRIES
    if over:
        row.state, row.finished_at = DeliveryState.FAILED.value, now
    else:
        row.next_at = now + PAUSES[row.attempts - 1]
    if test:
        return
    Webhook.objects.filter(id=hook.id).update(failures=F("failures") + 1)
    well_since = hook.last_success_at is not None and hook.last_success_at >= row.created_at
    if over and not hook.stopped and (gone or not well_since):
        # First the row itself, so that it is not among those that waited.
        row.save()
        _stop_by_itself(hook, Stopped.GONE if gone else Stopped.FAILING, now)


def _stop_by_itself(hook: Webhook, why: Stopped, now: datetime) -> None:
    stop_webhook(hook, why, now)
    record_act(
        act="stopped",
        kind=KIND,
        object_id=hook.id,
        label=hook.name,
        tenant_id=hook.tenant_id,
        after={"reason": why.value},
    )
    if not settings.MAIL_CONFIGURED:
        return
    tenant = Tenant.objects.get(id=hook.tenant_id)
    for address, language in languages_of(head_addresses()).items():
        queue_letter(
            tenant_id=tenant.id,
            to=address,
            language=language,
            template=TEMPLATE,
            words={"tenant": tenant.name, "name": hook.name, "why": why.value},
        )


def _stop_unreadable(tenant_id: uuid.UUID, webhook_id: uuid.UUID, clock: Clock) -> None:
    """Nothing is sent unsigned, and nothing tried again that cannot be signed: what waits has failed."""
    now = clock.now()
    with acting(SYSTEM), tenant_scope(tenant_id):
        hook = Webhook.objects.select_for_update().filter(id=webhook_id).first()
        if hook is None or live_secrets(hook, now):
            return
        WebhookDelivery.objects.filter(webhook=hook, state=DeliveryState.WAITING).update(
            state=DeliveryState.FAILED, outcome=Outcome.SECRET, finished_at=now, updated_at=now
        )
        if not hook.stopped:
            _stop_by_itself(hook, Stopped.SECRET, now)
        _prune(hook)
        record_change(kind=KIND, object_id=hook.id, tenant_id=tenant_id)


def _prune(hook: Webhook) -> None:
    """Keep the last ended deliveries alone."""
    ended = WebhookDelivery.objects.filter(webhook=hook).exclude(state=DeliveryState.WAITING)
    last = ended.order_by("-id").values_list("id", flat=True)[MOST_KEPT : MOST_KEPT + 1].first()
    if last is not None:
        ended.filter(id__lte=last).delete()


def go_on(
    tenant_id: uuid.UUID, webhook_id: uuid.UUID, turn: int, clock: Clock, rest: timedelta = timedelta()
) -> None:
    """Queue the endpoint's job after that of `turn`, when something waits."""
    now = clock.now()
    with tenant_scope(tenant_id):
        row = Webhook.objects.select_for_update().filter(id=webhook_id, turn=turn).first()
        if row is None:
            return
        waiting = WebhookDelivery.objects.filter(webhook=row, state=DeliveryState.WAITING)
        first = waiting.aggregate(first=Min("next_at"))["first"]
        if first is None:
            Webhook.objects.filter(id=row.id).update(run_at=None)
        else:
            _schedule(row, max(first, now + rest, now + _rest(row.failures)), clock)


def _written(value: object) -> str:
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat() if isoformat else value)
