"""`/system`: versions, processes, configuration and its origins, sizes, licences. For platform operators."""

from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.installation import database_bytes, disk_space, licences, versions
from substrate.openapi import answers
from substrate.processes import list_processes
from substrate.rest import AtriumView
from substrate.schema import read_schema, reason_against
from tenants.permissions import OPERATE


class PartVersionOutput(serializers.Serializer[Any]):
    """A part and its version; `away` when it did not answer."""

    part = serializers.CharField()
    version = serializers.CharField()
    state = serializers.ChoiceField(choices=[("ok", "ok"), ("away", "away")])


class ConfiguredValueOutput(serializers.Serializer[Any]):
    """One variable. A secret's value is never told, only whether it is set."""

    name = serializers.CharField()
    value = serializers.CharField()
    origin = serializers.ChoiceField(
        choices=[("environment", "environment"), ("file", "file"), ("default", "default")]
    )
    file = serializers.CharField()
    secret = serializers.BooleanField()
    is_set = serializers.BooleanField()


class ProcessOutput(serializers.Serializer[Any]):
    """A process that was heard of within the last hour; `running` when within the last 90 seconds."""

    name = serializers.CharField()
    role = serializers.CharField()
    host = serializers.CharField()
    pid = serializers.IntegerField()
    version = serializers.CharField()
    started_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()
    running = serializers.BooleanField()


class SchemaOutput(serializers.Serializer[Any]):
    """The newest migration of each app, and what is wrong with the schema (empty: nothing)."""

    newest = serializers.ListField(child=serializers.CharField())
    problem = serializers.CharField()


class DiskOutput(serializers.Serializer[Any]):
    """The disk that holds `path`, in bytes."""

    path = serializers.CharField()
    total = serializers.IntegerField()
    free = serializers.IntegerField()


class LicenceOutput(serializers.Serializer[Any]):
    """A dependency and its licence."""

    name = serializers.CharField()
    version = serializers.CharField()
    licence = serializers.CharField()
    kind = serializers.ChoiceField(choices=[("python", "python"), ("npm", "npm")])


class SystemOutput(serializers.Serializer[Any]):
    """The installation at one glance."""

    profile = serializers.CharField()
    versions = PartVersionOutput(many=True)
    processes = ProcessOutput(many=True)
    configuration = ConfiguredValueOutput(many=True)
    schema = SchemaOutput()
    database_bytes = serializers.IntegerField()
    disk = DiskOutput()
    licences = LicenceOutput(many=True)


class SystemView(AtriumView):
    """The installation."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="system_get", responses=answers({200: SystemOutput}))
    def get(self, request: Request) -> Response:
        """Versions, processes, configuration, sizes and licences. Secrets are shown as set or not."""
        state = read_schema()
        found = {
            "profile": settings.ATRIUM.profile,
            "versions": versions(),
            "processes": list_processes(),
            "configuration": settings.CONFIGURATION,
            "schema": {"newest": state.newest, "problem": reason_against(state)},
            "database_bytes": database_bytes(),
            "disk": disk_space(),
            "licences": licences(),
        }
        response = Response(SystemOutput(found).data)
        response["Cache-Control"] = "no-store"
        return response
