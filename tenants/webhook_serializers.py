"""Wire shapes of webhooks."""

from typing import Any

from rest_framework import serializers

from substrate.rest import StrictSerializer
from tenants.types import NAME_LENGTH
from tenants.webhook_types import EVENT_NAMES, URL_LENGTH, DeliveryState, Outcome, Stopped

DELIVERY_STATES = tuple(each.value for each in DeliveryState)
OUTCOMES = tuple(each.value for each in Outcome if each is not Outcome.NONE)
REASONS = tuple(each.value for each in Stopped if each is not Stopped.NOT)


class WebhookInput(StrictSerializer):
    """A new endpoint: https, a host of the public network, no user in the address."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    url = serializers.CharField(max_length=URL_LENGTH)
    events = serializers.ListField(
        child=serializers.ChoiceField(EVENT_NAMES), min_length=1, max_length=len(EVENT_NAMES)
    )


class WebhookChange(StrictSerializer):
    """What of an endpoint may be changed. Enabling one forgets its failures."""

    name = serializers.CharField(max_length=NAME_LENGTH, required=False)
    url = serializers.CharField(max_length=URL_LENGTH, required=False)
    events = serializers.ListField(
        child=serializers.ChoiceField(EVENT_NAMES),
        min_length=1,
        max_length=len(EVENT_NAMES),
        required=False,
    )
    enabled = serializers.BooleanField(required=False)


class WebhookRotation(StrictSerializer):
    """For how many hours the old secret signs beside the new one."""

    grace_hours = serializers.IntegerField(min_value=0, max_value=720, required=False)


class WebhookOutput(serializers.Serializer[Any]):
    """An endpoint. `stopped`: why it is disabled (null: it is not); `hint`: how its secret begins.

    `failures` are tries since the last that went well; `dropped` are events for which too much waited already.
    """

    id = serializers.CharField()
    name = serializers.CharField()
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.ChoiceField(EVENT_NAMES))
    enabled = serializers.BooleanField()
    stopped = serializers.ChoiceField(REASONS, allow_null=True)
    hint = serializers.CharField()
    second_secret_until = serializers.DateTimeField(allow_null=True)
    waiting = serializers.IntegerField()
    dropped = serializers.IntegerField()
    failures = serializers.IntegerField()
    last_success_at = serializers.DateTimeField(allow_null=True)
    created_by = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    version = serializers.CharField()


class IssuedWebhookOutput(serializers.Serializer[Any]):
    """An endpoint and its secret, which is shown this once: `whsec_` and base64, as libraries of Standard Webhooks take it."""

    webhook = WebhookOutput()
    secret = serializers.CharField()


class WebhookList(serializers.Serializer[Any]):
    """All endpoints of the tenant, by name."""

    results = WebhookOutput(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class DeliveryOutput(serializers.Serializer[Any]):
    """One event on its way; its id is what the receiver gets as `webhook-id`. `outcome`: how the last try ended."""

    id = serializers.CharField()
    event = serializers.CharField()
    state = serializers.ChoiceField(DELIVERY_STATES)
    outcome = serializers.ChoiceField(OUTCOMES, allow_null=True)
    status = serializers.IntegerField(allow_null=True)
    took_ms = serializers.IntegerField(allow_null=True)
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    next_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
