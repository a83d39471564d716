"""Shapes of the REST API of provisioning."""

from typing import Any

from rest_framework import serializers

from substrate.rest import StrictSerializer
from tenants.types import NAME_LENGTH, KeyState, Role

DIRECTORY_ROLES = [Role.ADMIN.value, Role.MEMBER.value, Role.VIEWER.value]
TOKEN_STATES = [each.value for each in KeyState]


class ScimTokenInput(StrictSerializer):
    """A new token. Members whom it makes have `default_role`; without `expires_at` it works until it is revoked."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    default_role = serializers.ChoiceField(DIRECTORY_ROLES, required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class ScimTokenRotation(StrictSerializer):
    """For how many hours the old token works on (24 where nothing is said)."""

    grace_hours = serializers.IntegerField(min_value=0, max_value=720, required=False)


class ScimTokenOutput(serializers.Serializer[Any]):
    """A token without its text; `hint` is how it begins."""

    id = serializers.CharField()
    name = serializers.CharField()
    hint = serializers.CharField()
    default_role = serializers.ChoiceField(DIRECTORY_ROLES)
    state = serializers.ChoiceField(TOKEN_STATES)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class IssuedTokenOutput(ScimTokenOutput):
    """A fresh token with its text."""

    token = serializers.CharField()


class ProvisioningOutput(serializers.Serializer[Any]):
    """The address of the tenant's SCIM service, and its tokens."""

    address = serializers.CharField()
    tokens = ScimTokenOutput(many=True)
