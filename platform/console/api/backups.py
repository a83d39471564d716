"""`/backups`: take, list, download, upload, delete and restore backups. For platform operators."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from console.api.keyring import GivenKeyringInput, given_keyring
from console.keeping import BackupCatalogue, Keeper
from kernel.backends import backends
from kernel.errors import BadInput
from substrate.openapi import NO_FORMAT, PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, StrictSerializer, ToldField
from substrate.wording import all_for_reader
from tenants.permissions import OPERATE
from tenants.rest import principal
from tenants.services import require_reauthentication

ORIGINS = ("taken", "scheduled", "uploaded")
KEYRINGS = ("same", "other", "given", "")
# As drf-spectacular takes them: the file, whole or in part.
FILE_ANSWERS: dict[Any, Any] = {
    (200, "application/zip"): OpenApiTypes.BINARY,
    (206, "application/zip"): OpenApiTypes.BINARY,
}
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})\Z")


class BackupOutput(serializers.Serializer[Any]):
    """A backup. While it is being taken, `step`, `done` and `total` (0: unknown) say how far it is."""

    id = serializers.CharField()
    state = serializers.CharField(help_text="queued, running, done or failed")
    origin = serializers.ChoiceField(ORIGINS)
    by = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    size_bytes = serializers.IntegerField()
    step = serializers.CharField()
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    error = ToldField(allow_null=True)
    version = serializers.CharField()
    profile = serializers.CharField()
    consistent_at = serializers.CharField()
    seconds = serializers.FloatField()
    files = serializers.IntegerField()
    file_bytes = serializers.IntegerField()
    points = serializers.IntegerField()
    missing_files = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField())


class RestorePlanOutput(serializers.Serializer[Any]):
    """What restoring a backup would do here. `refusal` is empty when it can be restored."""

    refusal = ToldField()
    keyring = serializers.ChoiceField(KEYRINGS, allow_blank=True)
    losses = serializers.ListField(child=ToldField())
    remarks = serializers.ListField(child=ToldField())
    replaces = serializers.DictField(child=serializers.IntegerField())


class RestorationOutput(serializers.Serializer[Any]):
    """How the last restore stands. `outcome` holds its figures once it is done."""

    state = serializers.CharField(help_text="none, queued, running, done or failed")
    backup_id = serializers.CharField()
    by = serializers.CharField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    step = serializers.CharField()
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    error = ToldField(allow_null=True)
    outcome = serializers.SerializerMethodField()

    @extend_schema_field(serializers.DictField())
    def get_outcome(self, view: Any) -> dict[str, Any]:
        """Its figures; what was lost is told as a list of texts."""
        outcome = dict(view.outcome)
        return {**outcome, "losses": all_for_reader(outcome["losses"])} if "losses" in outcome else outcome


class TakeInput(StrictSerializer):
    """Nothing is to be said."""


class UploadBackupInput(StrictSerializer):
    """A backup file, as `manage.py backup` or a download made it."""

    file = serializers.FileField()


class RestoreInput(GivenKeyringInput):
    """`confirm` is the backup's id, typed again. With the backup's keyring, where this installation has another one."""

    confirm = serializers.CharField(max_length=64)


def _catalogue() -> BackupCatalogue:
    found: BackupCatalogue = backends["backup_catalogue"]
    return found


def _keeper() -> Keeper:
    found: Keeper = backends["keeper"]
    return found


def _who(request: Request) -> str:
    user = getattr(request.user, "email", "")
    return str(user or principal(request).tenant_slug)


class BackupsView(AtriumView):
    """The backups of this installation."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="backups_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("BackupPage", BackupOutput)}, 503),
    )
    def get(self, request: Request) -> Response:
        """All backups, the newest first, in one page."""
        found = _catalogue().backups()
        return Response({"results": BackupOutput(found, many=True).data, "next": None, "previous": None})

    @extend_schema(
        operation_id="backups_take", request=TakeInput, responses=answers({201: BackupOutput}, 409, 503)
    )
    def post(self, request: Request) -> Response:
        """Begin to take a backup. It goes on by itself; `GET /backups/{id}` says how far it is."""
        TakeInput(data=request.data).is_valid(raise_exception=True)
        return Response(BackupOutput(_keeper().take(_who(request))).data, status=201)


class BackupView(AtriumView):
    """One backup."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="backups_get", responses=answers({200: BackupOutput}, 503))
    def get(self, request: Request, backup_id: str) -> Response:
        """One backup."""
        return Response(BackupOutput(_catalogue().find(backup_id)).data)

    @extend_schema(operation_id="backups_delete", responses=answers({204: None}, 409, 503))
    def delete(self, request: Request, backup_id: str) -> Response:
        """Delete it for good."""
        _catalogue().delete(backup_id)
        return Response(status=204)


class UploadBackupView(AtriumView):
    """Bring a backup file from elsewhere."""

    required_permission: ClassVar[str] = OPERATE
    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="backups_upload",
        request={"multipart/form-data": UploadBackupInput},
        responses=answers({201: BackupOutput}, 409, 415, 503),
    )
    def post(self, request: Request) -> Response:
        """Upload a backup. It is checked whole before it is listed; nothing is restored yet."""
        form = UploadBackupInput(data=request.data)
        form.is_valid(raise_exception=True)
        pieces: Iterator[bytes] = form.validated_data["file"].chunks(1024 * 1024)
        return Response(BackupOutput(_catalogue().adopt(pieces, _who(request))).data, status=201)


class ZipRenderer(BaseRenderer):
    """Lets a request ask for the file's own type."""

    media_type = "application/zip"
    format = "zip"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        """Only problems are rendered; the file itself is streamed."""
        return JSONRenderer().render(data)


class BackupFileView(AtriumView):
    """The file of a backup."""

    required_permission: ClassVar[str] = OPERATE
    renderer_classes = (JSONRenderer, ZipRenderer)

    @extend_schema(
        operation_id="backups_download",
        parameters=[
            NO_FORMAT,
            OpenApiParameter(
                "Range",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="`bytes=from-[to]`: a part of it.",
            ),
        ],
        responses=answers(FILE_ANSWERS, 503),
    )
    def get(self, request: Request, backup_id: str) -> HttpResponseBase:
        """Download it, whole or in part, so that a broken download can be continued.

        The person must have given a password or factor again just now: all that people wrote is in it.
        """
        require_reauthentication(principal=principal(request), request=request._request)
        found = _catalogue().find(backup_id)
        if found.state != "done" or not found.size_bytes:
            raise BadInput("This backup is not whole yet.", code="backup_not_whole")
        start, length = _part(request.headers.get("Range", ""), found.size_bytes)
        pieces = _catalogue().read(backup_id, start, length)
        response = StreamingHttpResponse(_drained(pieces), content_type="application/zip")
        response["Content-Disposition"] = f'attachment; filename="{found.id}.zip"'
        response["Content-Length"] = str(length)
        response["Accept-Ranges"] = "bytes"
        if length != found.size_bytes:
            response.status_code = 206
            response["Content-Range"] = f"bytes {start}-{start + length - 1}/{found.size_bytes}"
        return response


class RestorePlanView(AtriumView):
    """What restoring a backup would do."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="backups_plan", responses=answers({200: RestorePlanOutput}, 503))
    def get(self, request: Request, backup_id: str) -> Response:
        """What restoring it would do here; nothing is done."""
        return Response(RestorePlanOutput(_keeper().plan(backup_id)).data)

    @extend_schema(
        operation_id="backups_plan_with_keyring",
        request=GivenKeyringInput,
        responses=answers({200: RestorePlanOutput}, 503),
    )
    def post(self, request: Request, backup_id: str) -> Response:
        """What restoring it with its keyring would do here; nothing is done."""
        form = GivenKeyringInput(data=request.data)
        form.is_valid(raise_exception=True)
        plan = _keeper().plan(backup_id, given_keyring(request, form))
        return Response(RestorePlanOutput(plan).data)


class RestoreView(AtriumView):
    """Restore a backup."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="backups_restore",
        request=RestoreInput,
        responses=answers({202: RestorationOutput}, 409, 503),
    )
    def post(self, request: Request, backup_id: str) -> Response:
        """Begin to restore it over everything that is here. It goes on by itself; see `GET /backups/restore`.

        The person must have given a password or factor again just now.
        """
        require_reauthentication(principal=principal(request), request=request._request)
        form = RestoreInput(data=request.data)
        form.is_valid(raise_exception=True)
        _catalogue().find(backup_id)
        if form.validated_data["confirm"].strip() != backup_id:
            raise BadInput("Type the backup's id to confirm.", param="confirm", code="not_confirmed")
        begun = _keeper().restore(backup_id, _who(request), given_keyring(request, form))
        return Response(RestorationOutput(begun).data, status=202)


class RestorationView(AtriumView):
    """The restore at work, or the last one."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="backups_restoration", responses=answers({200: RestorationOutput}, 503))
    def get(self, request: Request) -> Response:
        """How the last restore stands; its state outlives the database's replacement."""
        return Response(RestorationOutput(_keeper().restoration()).data)


def _part(header: str, size: int) -> tuple[int, int]:
    """(start, length) of what is asked for: all of it, when the header asks for nothing we can give."""
    match = _RANGE.match(header.replace(" ", ""))
    if match is None:
        return 0, size
    start = int(match.group(1))
    end = min(int(match.group(2)), size - 1) if match.group(2) else size - 1
    if start > end:
        return 0, size
    return start, end - start + 1


async def _drained(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, each read in a thread: the event loop serves others meanwhile."""
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
