"""Shapes of the REST API of a tenant's own settings, its archives and its end."""

from typing import Any

from rest_framework import serializers

from substrate.rest import StrictSerializer, ToldField
from tenants.lifecycle_types import MOST_GRACE_HOURS, REASON_LENGTH, DeletionState, ExportState
from tenants.types import NAME_LENGTH, SLUG_LENGTH

DELETION_STATES = [each.value for each in DeletionState]
EXPORT_STATES = [each.value for each in ExportState]


class OwnTenantChange(StrictSerializer):
    """What an owner may change. Days and months of limits are of the calendar of `timezone`."""

    name = serializers.CharField(max_length=NAME_LENGTH, required=False)
    timezone = serializers.CharField(max_length=64, required=False)


class OwnTenantOutput(serializers.Serializer[Any]):
    """The tenant one acts in. Engines outside of its `region` never see its content (empty: there is no such bound)."""

    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    timezone = serializers.CharField()
    region = serializers.CharField()
    created_at = serializers.DateTimeField()
    version = serializers.CharField()


class ExportInput(StrictSerializer):
    """Why it is taken out; operators must say so, and the tenant sees it."""

    reason = serializers.CharField(max_length=REASON_LENGTH, required=False, allow_blank=True)


class ExportOutput(serializers.Serializer[Any]):
    """An archive. It can be downloaded while it is `ready`, until `expires_at`."""

    id = serializers.CharField()
    tenant_id = serializers.CharField()
    state = serializers.ChoiceField(EXPORT_STATES)
    asked_by = serializers.CharField()
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    rows_done = serializers.IntegerField()
    rows_total = serializers.IntegerField()
    files = serializers.IntegerField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    error = ToldField()


class OwnDeletionInput(StrictSerializer):
    """`confirm` is the tenant's short name, typed."""

    confirm = serializers.CharField(max_length=SLUG_LENGTH)
    reason = serializers.CharField(max_length=REASON_LENGTH, required=False, allow_blank=True)


class DeletionInput(OwnDeletionInput):
    """`grace_hours` is how long it can still be withdrawn."""

    grace_hours = serializers.IntegerField(min_value=0, max_value=MOST_GRACE_HOURS, required=False)


class DeletionOutput(serializers.Serializer[Any]):
    """The deletion of a tenant. `report` is the proof: what was counted at its end, and where traces were found."""

    id = serializers.CharField()
    tenant_id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(DELETION_STATES)
    asked_by = serializers.CharField()
    reason = serializers.CharField()
    asked_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    step = serializers.CharField()
    deleted = serializers.IntegerField()
    error = ToldField()
    report = serializers.DictField()
