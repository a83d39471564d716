"""Endpoints that a tenant has told of events: made, changed, tested, given another secret, deleted."""

import hashlib
import os
import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, LimitReached, NotFound
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.keyring import keyring
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants.models import Tenant, Webhook, WebhookDelivery
from tenants.permissions import refuse_visit, require
from tenants.ports import WebhookSend
from tenants.services.webhook_sending import (
    KIND,
    begin_anew,
    body_of,
    queue_delivery,
    read_secret,
    secret_context,
    stop_webhook,
)
from tenants.types import NAME_LENGTH, Principal
from tenants.webhook_reads import delivery_views, place_of, webhook_views
from tenants.webhook_signing import MARK, SECRET_BYTES, secret_of
from tenants.webhook_types import (
    EVENT_NAMES,
    LONGEST_GRACE,
    MOST_WEBHOOKS,
    TEST_EVENT,
    URL_LENGTH,
    DeliveryState,
    DeliveryView,
    IssuedWebhook,
    Stopped,
    WebhookView,
)

PERMISSION = "webhooks.write"


def list_webhooks(*, principal: Principal, clock: Clock = SYSTEM_CLOCK) -> list[WebhookView]:
    """The tenant's endpoints by name. Of addresses a visiting operator sees the host. Raises PermissionDenied."""
    require(principal, PERMISSION)
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = list(Webhook.objects.order_by("name", "id"))
        return webhook_views(rows, clock.now(), hidden=principal.visiting)


def get_webhook(*, principal: Principal, webhook_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> WebhookView:
    """One endpoint. Raises PermissionDenied, NotFound."""
    require(principal, PERMISSION)
    with tenant_scope(principal.tenant_id, read_only=True):
        return _view(principal, _row(webhook_id), clock)


def create_webhook(
    *, principal: Principal, name: str, url: str, events: Sequence[str], clock: Clock = SYSTEM_CLOCK
) -> IssuedWebhook:
    """Make an endpoint; its secret is in the answer and nowhere else.

    Raises PermissionDenied (for a visit too), BadInput, LimitReached, Conflict for a name that is taken.
    """
    require(principal, PERMISSION)
    refuse_visit(principal, "You are visiting this tenant: saying where events are sent is for its members.")
    row = Webhook(tenant_id=principal.tenant_id, created_by_id=principal.user_id)
    row.name, row.url, row.events = _name(name), _url(url), _events(events)
    with tenant_scope(principal.tenant_id):
        # The tenant's row is the lock: two who make the last one at once must not both succeed.
        Tenant.objects.select_for_update().get(id=principal.tenant_id)
        if Webhook.objects.count() >= MOST_WEBHOOKS:
            raise LimitReached(f"A tenant has at most {MOST_WEBHOOKS} webhooks.")
        secret = _new_secret(row)
        _save(row, new=True)
        _record("created", row, after=_values(row))
        return IssuedWebhook(_view(principal, row, clock), secret)


def change_webhook(
    *,
    principal: Principal,
    webhook_id: uuid.UUID,
    name: str | None = None,
    url: str | None = None,
    events: Sequence[str] | None = None,
    enabled: bool | None = None,
    expected: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> WebhookView:
    """Change what is not None. What waits for an endpoint is not sent once it is disabled.

    A visiting operator may disable alone. Raises PermissionDenied, NotFound, BadInput, Conflict, Stale.
    """
    require(principal, PERMISSION)
    if not (enabled is False and name is None and url is None and events is None):
        refuse_visit(
            principal, "You are visiting this tenant: saying where events are sent is for its members."
        )
    now = clock.now()
    with tenant_scope(principal.tenant_id):
        row = _row(webhook_id, lock=True)
        check_version(row.updated_at, expected)
        before = _values(row)
        row.name = row.name if name is None else _name(name)
        row.url = row.url if url is None else _url(url)
        row.events = row.events if events is None else _events(events)
        if enabled and row.stopped:
            row.stopped, row.failures, row.dropped = Stopped.NOT.value, 0, 0
            begin_anew(row, clock)
        _save(row)
        if enabled is False and not row.stopped:
            stop_webhook(row, Stopped.BY_HAND, now)
        if before != (after := _values(row)):
            _record("changed", row, before, after)
        return _view(principal, row, clock)


def delete_webhook(*, principal: Principal, webhook_id: uuid.UUID, expected: str | None = None) -> None:
    """Delete an endpoint with what waits for it and its log. Raises PermissionDenied, NotFound, Stale."""
    require(principal, PERMISSION)
    with tenant_scope(principal.tenant_id):
        row = _row(webhook_id, lock=True)
        check_version(row.updated_at, expected)
        _record("deleted", row, before=_values(row))
        row.delete()


def rotate_webhook_secret(
    *, principal: Principal, webhook_id: uuid.UUID, grace: timedelta, clock: Clock = SYSTEM_CLOCK
) -> IssuedWebhook:
    """Another secret, in the answer alone; the old one signs beside it until `grace` is over.

    A second one that still signs ends at once, and an old one that cannot be read signs no more. Raises PermissionDenied (for a visit too), NotFound, BadInput.
    """
    require(principal, PERMISSION)
    refuse_visit(principal, "You are visiting this tenant: changing a secret is for its members.")
    if not timedelta() <= grace <= LONGEST_GRACE:
        raise BadInput(
            f"The old secret may sign on for 0–{LONGEST_GRACE.days * 24} hours.", param="grace_hours"
        )
    with tenant_scope(principal.tenant_id):
        row = _row(webhook_id, lock=True)
        signs_on = bool(grace) and read_secret(row, row.secret) is not None
        row.second_secret = row.secret if signs_on else ""
        row.second_until = clock.now() + grace if signs_on else None
        secret = _new_secret(row)
        row.save()
        _record("rotated", row)
        return IssuedWebhook(_view(principal, row, clock), secret)


def send_test(*, principal: Principal, webhook_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> DeliveryView:
    """Send a test, once, to an endpoint that may be disabled; its delivery tells how it went.

    Raises PermissionDenied (for a visit too), NotFound, Conflict while another test waits or too much does.
    """
    require(principal, PERMISSION)
    refuse_visit(principal, "You are visiting this tenant: sending a test is for its members.")
    with tenant_scope(principal.tenant_id):
        row = _row(webhook_id, lock=True)
        waiting = WebhookDelivery.objects.filter(webhook=row, state=DeliveryState.WAITING)
        if waiting.filter(event=TEST_EVENT).exists():
            raise Conflict("A test is on its way already.", code="test_waiting")
        tenant = Tenant.objects.get(id=principal.tenant_id)
        body = body_of(tenant, TEST_EVENT, {"webhook_id": row.id}, clock.now())
        made = queue_delivery(row, TEST_EVENT, body, clock, at_once=True)
        if made is None:
            raise Conflict("Too much waits for this webhook already.", code="too_much_waits")
        _record("tested", row)
        return delivery_views([made])[0]


def _view(principal: Principal, row: Webhook, clock: Clock) -> WebhookView:
    return webhook_views([row], clock.now(), hidden=principal.visiting)[0]


def _new_secret(row: Webhook) -> str:
    secret = secret_of(os.urandom(SECRET_BYTES))
    row.secret = keyring().encrypt(secret, context=secret_context(row))
    row.hint = secret[: len(MARK) + 4]
    return secret


def _row(webhook_id: uuid.UUID, *, lock: bool = False) -> Webhook:
    rows = Webhook.objects.select_for_update() if lock else Webhook.objects.all()
    row = rows.filter(id=webhook_id).first()
    if row is None:
        raise NotFound("There is no such webhook.")
    return row


def _save(row: Webhook, *, new: bool = False) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=new)
    except IntegrityError as error:
        raise Conflict("There is a webhook of this name already.", param="name") from error


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > NAME_LENGTH:
        raise BadInput(f"A webhook's name has 1–{NAME_LENGTH} characters.", param="name")
    return name


def _url(text: str) -> str:
    url = text.strip()
    if len(url) > URL_LENGTH:
        raise BadInput(f"An address has at most {URL_LENGTH} characters.", param="url")
    send: WebhookSend = backends["webhook_send"]
    send.check(url)
    return url


def _events(names: Sequence[str]) -> list[str]:
    unknown = sorted(set(names) - set(EVENT_NAMES))
    if unknown or not names:
        raise BadInput(f"Choose some of: {', '.join(EVENT_NAMES)}.", param="events")
    return [each for each in EVENT_NAMES if each in names]


def _values(row: Webhook) -> dict[str, object]:
    return {
        "name": row.name,
        "host": place_of(row.url),
        # The rest of an address may be a secret of the receiver's: that it changed is told, not what it is.
        "address": hashlib.sha256(row.url.encode()).hexdigest()[:12],
        "events": list(row.events),
        "enabled": not row.stopped,
    }


def _record(
    act: str,
    row: Webhook,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    record_change(kind=KIND, object_id=row.id, tenant_id=row.tenant_id)
    record_act(
        act=act,
        kind=KIND,
        object_id=row.id,
        label=row.name,
        tenant_id=row.tenant_id,
        before=before,
        after=after,
    )
