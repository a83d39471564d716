"""Shapes of the REST API around signing in."""

from typing import Any

from rest_framework import serializers

from substrate.rest import StrictSerializer


class SessionOutput(serializers.Serializer[Any]):
    """A browser's session. `current`: the one that asks; `device`: what its browser says of itself, in words."""

    id = serializers.CharField()
    current = serializers.BooleanField()
    tenant = serializers.CharField(source="tenant_slug")
    device = serializers.CharField()
    user_agent = serializers.CharField()
    address = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class SessionsOutput(serializers.Serializer[Any]):
    """Sessions that work, the last seen first; at most 200."""

    results = SessionOutput(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class SessionsEnded(serializers.Serializer[Any]):
    """How many sessions were ended."""

    ended = serializers.IntegerField()


class SignInRulesInput(StrictSerializer):
    """What the tenant asks of people who sign in."""

    second_factor_required = serializers.BooleanField()


class SignInRulesOutput(serializers.Serializer[Any]):
    """What the tenant asks of people who sign in. `second_factor_here`: the session that asks was opened with one."""

    second_factor_required = serializers.BooleanField()
    second_factor_here = serializers.BooleanField()
    version = serializers.CharField()
