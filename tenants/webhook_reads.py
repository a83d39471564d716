"""Reads of webhooks. Each needs the tenant's scope."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from django.db.models import Count, QuerySet

from substrate.versions import version_of
from tenants.models import User, Webhook, WebhookDelivery
from tenants.webhook_types import DeliveryState, DeliveryView, Outcome, Stopped, WebhookView


def webhook_views(rows: Sequence[Webhook], now: datetime, *, hidden: bool) -> list[WebhookView]:
    """Endpoints with what waits for them: three queries for all. `hidden` shows of addresses the host alone."""
    waiting: dict[uuid.UUID, int] = dict(
        WebhookDelivery.objects.filter(webhook__in=[each.id for each in rows], state=DeliveryState.WAITING)
        .order_by()
        .values_list("webhook_id")
        .annotate(number=Count("id"))
    )
    makers = {each.created_by_id for each in rows if each.created_by_id}
    emails: dict[uuid.UUID | None, str] = dict(User.objects.filter(id__in=makers).values_list("id", "email"))
    return [
        WebhookView(
            id=row.id,
            name=row.name,
            url=f"{place_of(row.url)}/…" if hidden else row.url,
            events=tuple(row.events),
            enabled=not row.stopped,
            stopped=Stopped(row.stopped) if row.stopped else None,
            hint=row.hint,
            second_secret_until=row.second_until if row.second_until and row.second_until > now else None,
            waiting=waiting.get(row.id, 0),
            dropped=row.dropped,
            failures=row.failures,
            last_success_at=row.last_success_at,
            created_by=emails.get(row.created_by_id, ""),
            created_at=row.created_at,
            version=version_of(row.updated_at),
        )
        for row in rows
    ]


def place_of(url: str) -> str:
    """Scheme and host of an address: the rest of it may be a secret of the receiver's."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"


def deliveries_of(webhook_id: uuid.UUID) -> QuerySet[WebhookDelivery]:
    """The deliveries of an endpoint that are kept, without what they say."""
    return WebhookDelivery.objects.filter(webhook_id=webhook_id).defer("body")


def delivery_views(rows: Sequence[WebhookDelivery]) -> list[DeliveryView]:
    """Deliveries as they are shown."""
    return [
        DeliveryView(
            id=row.id,
            event=row.event,
            state=DeliveryState(row.state),
            outcome=Outcome(row.outcome) if row.outcome else None,
            status=row.status,
            took_ms=row.took_ms,
            attempts=row.attempts,
            created_at=row.created_at,
            next_at=row.next_at if row.state == DeliveryState.WAITING else None,
            finished_at=row.finished_at,
        )
        for row in rows
    ]
