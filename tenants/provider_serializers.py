"""Shapes of the REST API of identity providers."""

from typing import Any

from rest_framework import serializers

from substrate.rest import StrictSerializer, ToldField
from tenants.types import NAME_LENGTH, Role

PROVIDER_ROLES = [Role.ADMIN.value, Role.MEMBER.value, Role.VIEWER.value]
PROTOCOLS = ["oidc", "saml"]
PROVIDER_STEPS = ["discovery", "configuration", "keys"]


class MappingRule(StrictSerializer):
    """Who has this value in the provider's claim is given one group, one built-in role or one custom role."""

    value = serializers.CharField(max_length=255)
    group = serializers.UUIDField(required=False, allow_null=True)
    role = serializers.ChoiceField([each.value for each in Role], required=False, allow_null=True)
    custom_role = serializers.UUIDField(required=False, allow_null=True)


class MappingRuleOutput(serializers.Serializer[Any]):
    """A rule; what it does not give is left out."""

    value = serializers.CharField()
    group = serializers.CharField(required=False)
    role = serializers.CharField(required=False)
    custom_role = serializers.CharField(required=False)


class ProviderChange(StrictSerializer):
    """What of an identity provider may be changed. An empty `client_secret` removes it; left out it stays.

    Of a SAML provider `issuer` is its entity id; its `metadata` (XML) fills that, `sso_url` and `certificates` (PEM).
    """

    name = serializers.CharField(max_length=NAME_LENGTH, required=False)
    issuer = serializers.CharField(max_length=500, required=False, allow_blank=True)
    client_id = serializers.CharField(max_length=255, required=False, allow_blank=True)
    client_secret = serializers.CharField(
        max_length=2000, required=False, allow_blank=True, write_only=True, trim_whitespace=False
    )
    sso_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    certificates = serializers.CharField(max_length=40_000, required=False, allow_blank=True)
    metadata = serializers.CharField(max_length=500_000, required=False, allow_blank=True, write_only=True)
    enabled = serializers.BooleanField(required=False)
    create_members = serializers.BooleanField(required=False)
    default_role = serializers.ChoiceField(PROVIDER_ROLES, required=False)
    domains = serializers.ListField(
        child=serializers.CharField(max_length=253), max_length=50, required=False
    )
    groups_claim = serializers.CharField(max_length=255, required=False, allow_blank=True)
    mappings = serializers.ListField(child=MappingRule(), max_length=200, required=False)


class ProviderInput(ProviderChange):
    """A new identity provider; it is not enabled unless that is asked for. It is OpenID Connect unless `protocol` says saml."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    protocol = serializers.ChoiceField(PROTOCOLS, required=False)


class RefusedSignInOutput(serializers.Serializer[Any]):
    """When and why a sign-in was refused last; `person` is whom an answer that was believed named, else empty."""

    at = serializers.DateTimeField()
    reason = serializers.CharField()
    person = serializers.CharField()


class ProviderOutput(serializers.Serializer[Any]):
    """An identity provider. Its secret is never shown. `sign_in_url` leads people to it, `redirect_uri` is what it must allow.

    Of SAML alone: `acs_url`, where its answers go, and `metadata_url`, our side for it to take over. `last_refused` is
    the latest sign-in of the last 30 days that was refused.
    """

    id = serializers.CharField()
    name = serializers.CharField()
    protocol = serializers.ChoiceField(PROTOCOLS)
    issuer = serializers.CharField()
    client_id = serializers.CharField()
    has_secret = serializers.BooleanField()
    sso_url = serializers.CharField()
    certificates = serializers.CharField()
    enabled = serializers.BooleanField()
    create_members = serializers.BooleanField()
    default_role = serializers.ChoiceField(PROVIDER_ROLES)
    domains = serializers.ListField(child=serializers.CharField())
    domains_verified = serializers.BooleanField()
    groups_claim = serializers.CharField()
    mappings = MappingRuleOutput(many=True)
    sign_in_url = serializers.CharField()
    redirect_uri = serializers.CharField()
    acs_url = serializers.CharField()
    metadata_url = serializers.CharField()
    last_refused = RefusedSignInOutput(allow_null=True)
    created_at = serializers.DateTimeField()
    version = serializers.CharField()


class ProvidersOutput(serializers.Serializer[Any]):
    """The tenant's identity providers by name. `redirect_uri` is what every OpenID Connect provider must allow."""

    results = ProviderOutput(many=True)
    redirect_uri = serializers.CharField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class DomainsVerified(StrictSerializer):
    """An operator's word on the provider's domains."""

    verified = serializers.BooleanField()


class ProviderStep(serializers.Serializer[Any]):
    """One step of the connection test."""

    step = serializers.ChoiceField(PROVIDER_STEPS)
    passed = serializers.BooleanField()
    message = ToldField()


class ProviderReport(serializers.Serializer[Any]):
    """What the connection test found; `trial_url` is a dry sign-in that only shows what comes back."""

    passed = serializers.BooleanField()
    steps = ProviderStep(many=True)
    trial_url = serializers.CharField()
