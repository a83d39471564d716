"""Where a tenant's events are sent, and each event on its way."""

import uuid
from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.types import NAME_LENGTH
from tenants.webhook_types import URL_LENGTH, DeliveryState, Outcome, Stopped


class Webhook(TenantOwned):
    """An address of the tenant's own that is told of `events`. enabled ⇄ disabled (`stopped` says why).

    `secret` signs; `second_secret` signs beside it until `second_until`. Both are encrypted. One job at a time takes care
    of its deliveries, so that a slow endpoint holds one place of the workers at most: it is due at `run_at` (None: nothing
    waits), and knows by `turn` that no later one took its place. `failures` are tries since the last that went well;
    `dropped` are events for which there was no room.
    """

    name = models.CharField(max_length=NAME_LENGTH)
    url = models.CharField(max_length=URL_LENGTH)
    events = models.JSONField(default=list)
    stopped = models.CharField(
        max_length=16,
        choices=[(each.value, each.value) for each in Stopped],
        default=Stopped.NOT.value,
        blank=True,
    )
    secret = models.TextField()
    hint = models.CharField(max_length=16)
    second_secret = models.TextField(blank=True)
    second_until = models.DateTimeField(null=True, blank=True)
    turn = models.PositiveIntegerField(default=0)
    run_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    dropped = models.PositiveIntegerField(default=0)
    last_success_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        "tenants.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_by_id: uuid.UUID | None

    class Meta(TenantOwned.Meta):
        """A name once in a tenant."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "name"], name="webhook_once")]

    def __str__(self) -> str:
        """The row, without its address."""
        return f"webhook {self.pk}"


class WebhookDelivery(TenantOwned):
    """One event for one endpoint: waiting → delivered, or failed. Its id is what the receiver knows it by.

    `body` is what is sent, the same at each try. What the receiver answers is not kept, but for its status.
    """

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    webhook_id: uuid.UUID
    event = models.CharField(max_length=64)
    body = models.TextField()
    state = models.CharField(
        max_length=16,
        choices=[(each.value, each.value) for each in DeliveryState],
        default=DeliveryState.WAITING.value,
    )
    outcome = models.CharField(max_length=16, default=Outcome.NONE.value, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    took_ms = models.PositiveIntegerField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """Found by endpoint: what waits by its time, all by id."""

        verbose_name_plural = "webhook deliveries"
        indexes: ClassVar = [
            models.Index(fields=["tenant", "webhook", "state", "next_at"], name="delivery_by_webhook"),
            models.Index(fields=["webhook", "-id"], name="delivery_by_time"),
        ]

    def __str__(self) -> str:
        """Event and state."""
        return f"{self.event} ({self.state})"
