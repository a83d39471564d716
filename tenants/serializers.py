"""Shapes of the REST API of tenants: what comes in is strict, what goes out is documented."""

from datetime import date, timedelta
from typing import Any

from rest_framework import serializers

from substrate.rest import StrictSerializer
from tenants.lifecycle_types import REGION_LENGTH
from tenants.types import (
    EMAIL_LENGTH,
    MESSAGE_LENGTH,
    NAME_LENGTH,
    SLUG_LENGTH,
    WEIGHT_MAX,
    InvitationState,
    KeyState,
    PriorityClass,
    Role,
    TenantState,
)

ROLES = [each.value for each in Role]
TENANT_STATES = [each.value for each in TenantState]
# What an operator may switch by hand; its deletion is asked for.
TENANT_SWITCHES = [TenantState.ACTIVE.value, TenantState.SUSPENDED.value]
PRIORITIES = [each.value for each in PriorityClass]
KEY_STATES = [each.value for each in KeyState]
INVITATION_STATES = [each.value for each in InvitationState]
LONGEST_RANGE = timedelta(days=366)
FIRST_DAY = date(2020, 1, 1)
LAST_DAY = date(2200, 1, 1)
NANO = 1_000_000_000


class TenantInput(StrictSerializer):
    """A new tenant. `owner_email`: owner at once where the address is known, else invited. `join`: the caller too."""

    slug = serializers.RegexField(
        r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$",
        max_length=SLUG_LENGTH,
        error_messages={
            "invalid": "A tenant's slug has 1–63 characters: small letters, digits, and hyphens between them."
        },
    )
    name = serializers.CharField(max_length=NAME_LENGTH)
    priority_class = serializers.ChoiceField(PRIORITIES, required=False)
    weight = serializers.IntegerField(min_value=1, max_value=WEIGHT_MAX, required=False)
    owner_email = serializers.EmailField(max_length=EMAIL_LENGTH, required=False, allow_blank=True)
    join = serializers.BooleanField(required=False)
    timezone = serializers.CharField(max_length=64, required=False)
    region = serializers.CharField(max_length=REGION_LENGTH, required=False, allow_blank=True)


class TenantChange(StrictSerializer):
    """What of a tenant may be changed."""

    name = serializers.CharField(max_length=NAME_LENGTH, required=False)
    state = serializers.ChoiceField(TENANT_SWITCHES, required=False)
    priority_class = serializers.ChoiceField(PRIORITIES, required=False)
    weight = serializers.IntegerField(min_value=1, max_value=WEIGHT_MAX, required=False)
    timezone = serializers.CharField(max_length=64, required=False)
    region = serializers.CharField(max_length=REGION_LENGTH, required=False, allow_blank=True)


class TenantOutput(serializers.Serializer[Any]):
    """A tenant. `members` counts open memberships, `keys` valid API keys."""

    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(TENANT_STATES)
    priority_class = serializers.ChoiceField(PRIORITIES)
    weight = serializers.IntegerField()
    is_demo = serializers.BooleanField()
    members = serializers.IntegerField()
    keys = serializers.IntegerField()
    timezone = serializers.CharField()
    region = serializers.CharField()
    created_at = serializers.DateTimeField()
    version = serializers.CharField()


class MemberInput(StrictSerializer):
    """A new member of the tenant. The password counts for a new user alone; a known user keeps theirs."""

    email = serializers.EmailField(max_length=EMAIL_LENGTH)
    role = serializers.ChoiceField(ROLES)
    name = serializers.CharField(max_length=NAME_LENGTH, required=False, allow_blank=True)
    password = serializers.CharField(max_length=256, required=False, trim_whitespace=False)


class RoleNameOutput(serializers.Serializer[Any]):
    """A role that the tenant made."""

    id = serializers.CharField()
    name = serializers.CharField()


class MemberChange(StrictSerializer):
    """What of a member may be changed: to a built-in role by `role`, or to one of the tenant's own by `custom_role`."""

    role = serializers.ChoiceField(ROLES, required=False)
    custom_role = serializers.UUIDField(required=False)
    disabled = serializers.BooleanField(required=False)


class MemberOutput(serializers.Serializer[Any]):
    """A member of the tenant. With a `custom_role`, that one says what they may."""

    id = serializers.CharField(source="user_id")
    email = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(ROLES)
    disabled = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    custom_role = RoleNameOutput(allow_null=True)
    version = serializers.CharField()


class InvitationInput(StrictSerializer):
    """An offer of membership to an address, with a built-in `role` or a `custom_role`; the message is for the person invited."""

    email = serializers.EmailField(max_length=EMAIL_LENGTH)
    role = serializers.ChoiceField(ROLES, required=False)
    custom_role = serializers.UUIDField(required=False)
    message = serializers.CharField(max_length=MESSAGE_LENGTH, required=False, allow_blank=True)


class InvitationOutput(serializers.Serializer[Any]):
    """An invitation. `mailed`: the last sending went out by mail."""

    id = serializers.CharField()
    email = serializers.CharField()
    role = serializers.ChoiceField(ROLES)
    custom_role = RoleNameOutput(allow_null=True)
    message = serializers.CharField()
    state = serializers.ChoiceField(INVITATION_STATES)
    invited_by = serializers.CharField(allow_blank=True)
    mailed = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    accepted_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()


class SentInvitationOutput(InvitationOutput):
    """An invitation just sent. Where no mail went out, `link` is shown here once: hand it over yourself."""

    link = serializers.CharField(allow_null=True)


class NewTenantOutput(TenantOutput):
    """A tenant just made. `owner` became one at once; else `invitation` was sent to the address, where one was given."""

    owner = serializers.CharField(allow_blank=True)
    invitation = SentInvitationOutput(allow_null=True)
    joined = serializers.BooleanField()


class KeyInput(StrictSerializer):
    """A new API key, with a built-in `role` or a `custom_role`. `personal` binds it to the user who makes it.

    A key of a `service_account` (its id) has that account's role, and names none.
    """

    name = serializers.CharField(max_length=NAME_LENGTH)
    role = serializers.ChoiceField(ROLES, required=False)
    custom_role = serializers.UUIDField(required=False)
    priority_class = serializers.ChoiceField(PRIORITIES, required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    personal = serializers.BooleanField(required=False)
    service_account = serializers.UUIDField(required=False)


class KeyRotation(StrictSerializer):
    """For how many hours the old key works beside the new one: a day, where nothing is said."""

    grace_hours = serializers.IntegerField(min_value=0, max_value=720, required=False)


class KeyOutput(serializers.Serializer[Any]):
    """An API key without its secret. `expiring`: it ends within two weeks.

    `replaces` and `replaced_by` name the other key of a rotation. `user` and `created_by` are e-mail addresses, empty
    where there is none. `service_account` is the name of the account whose key it is; `user_id` is its id then.
    """

    id = serializers.CharField()
    prefix = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(ROLES)
    priority_class = serializers.ChoiceField(PRIORITIES)
    user_id = serializers.CharField(allow_null=True)
    created_by_id = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    state = serializers.ChoiceField(KEY_STATES)
    user = serializers.CharField(allow_blank=True)
    created_by = serializers.CharField(allow_blank=True)
    replaces = serializers.CharField(allow_null=True)
    replaced_by = serializers.CharField(allow_null=True)
    custom_role = RoleNameOutput(allow_null=True)
    service_account = serializers.CharField(allow_blank=True)
    version = serializers.CharField()


class NewKeyOutput(KeyOutput):
    """A key just made: the only answer that ever holds its text."""

    key = serializers.CharField()


class _UserOutput(serializers.Serializer[Any]):
    id = serializers.CharField()
    email = serializers.CharField()
    name = serializers.CharField()
    is_operator = serializers.BooleanField()


class _TenantName(serializers.Serializer[Any]):
    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()


class _MembershipOutput(serializers.Serializer[Any]):
    tenant = _TenantName()
    role = serializers.ChoiceField(ROLES)


class _KeyName(serializers.Serializer[Any]):
    prefix = serializers.CharField()
    name = serializers.CharField()


class _OpenGrant(serializers.Serializer[Any]):
    id = serializers.CharField()
    reason = serializers.CharField()
    expires_at = serializers.DateTimeField()


class MeOutput(serializers.Serializer[Any]):
    """Who asks. `user` is null for a key without user, `api_key` for a session.

    `custom_role` names the tenant's own role that says what they may. `platform`: may operate the platform. `visiting`: an operator in a tenant they are no member of.
    `break_glass`: the grant by which they read its content now.
    """

    user = _UserOutput(allow_null=True)
    tenant = _TenantName()
    role = serializers.ChoiceField(ROLES)
    custom_role = serializers.CharField(allow_blank=True)
    permissions = serializers.ListField(child=serializers.CharField())
    memberships = _MembershipOutput(many=True)
    api_key = _KeyName(allow_null=True)
    visiting = serializers.BooleanField()
    platform = serializers.BooleanField()
    break_glass = _OpenGrant(allow_null=True)
