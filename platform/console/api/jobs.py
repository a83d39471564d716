"""`/jobs`: background work as people see it: what waits, runs, failed and why; trying again, cancelling."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.scopes import SCOPE_PARAMETER, wants_platform
from kernel.errors import Conflict, NotFound
from kernel.ids import parse_uuid
from knowledge.services import name_documents
from knowledge.types import DocumentName
from substrate.job_board import (
    STATES,
    JobView,
    board_scope,
    cancel_job,
    find_job,
    job_rows,
    job_view,
    retry_job,
)
from substrate.listings import Listing, choice_filter, text_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.wording import for_reader
from tenants.rest import principal
from tenants.services import name_tenants, require
from tenants.types import Principal

READ, WRITE = "jobs.read", "knowledge.write"
# What is left of something deleted must go: to cancel that would keep it for ever.
NEVER_CANCELLED = frozenset({"knowledge.delete_document", "knowledge.purge"})

LISTING = Listing(
    sorts={"created_at": "id", "updated_at": "updated_at", "run_after": "run_after", "kind": "kind"},
    default="-created_at",
    search=("kind", "error", "request_id"),
    filters={
        "state": choice_filter("state", STATES),
        "kind": text_filter("kind", "The kind of work, as `knowledge.ingest`.", longest=64),
        "request_id": text_filter("request_id", "The request that asked for it.", longest=128),
    },
    csv=(
        "id",
        "tenant",
        "kind",
        "state",
        "attempts",
        "error",
        "created_at",
        "updated_at",
        "run_after",
        "request_id",
    ),
    file_name="jobs",
)


class JobSubjectOutput(serializers.Serializer[Any]):
    """What the job is about; `title` is null outside of the caller's tenant, and when the thing is gone."""

    kind = serializers.CharField()
    id = serializers.CharField()
    title = serializers.CharField(allow_null=True)
    knowledge_base_id = serializers.CharField(allow_null=True)


class JobOutput(serializers.Serializer[Any]):
    """A job. `scheduled`: queued for a later day. `progress_*` tell how far the attempt at hand has come."""

    id = serializers.CharField()
    tenant = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(STATES)
    scheduled = serializers.BooleanField()
    attempts = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    error = serializers.SerializerMethodField()
    progress_done = serializers.IntegerField(allow_null=True)
    progress_total = serializers.IntegerField(allow_null=True)
    progress_message = serializers.CharField(allow_blank=True)
    subject = JobSubjectOutput(allow_null=True)
    run_after = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    request_id = serializers.CharField(allow_blank=True)
    may_retry = serializers.BooleanField()
    may_cancel = serializers.BooleanField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_error(self, shown: Any) -> str | None:
        """Why the last attempt failed."""
        return for_reader(shown["error"]) or None


class JobKindsOutput(serializers.Serializer[Any]):
    """The kinds of work there are."""

    kinds = serializers.ListField(child=serializers.CharField())


@dataclass(frozen=True, slots=True)
class _Subject:
    kind: str
    id: str
    title: str | None
    knowledge_base_id: str | None


def show_jobs(who: Principal, views: Sequence[JobView]) -> list[dict[str, Any]]:
    """The jobs with their tenants' slugs, and titles of what they are about where it is the caller's own tenant's."""
    strangers = {view.tenant_id for view in views} - {who.tenant_id}
    foreign = name_tenants(principal=who, ids=list(strangers)) if strangers else {}
    slugs = {**foreign, str(who.tenant_id): who.tenant_slug}
    mine = [view.references.get("document") for view in views if view.tenant_id == who.tenant_id]
    named = name_documents(principal=who, document_ids=[uuid.UUID(each) for each in mine if each])
    return [
        {
            **asdict(view),
            "tenant": slugs.get(str(view.tenant_id), ""),
            "subject": _subject(view, named),
            "may_retry": view.state in ("failed", "cancelled"),
            "may_cancel": view.state == "queued" and view.kind not in NEVER_CANCELLED,
        }
        for view in views
    ]


def _subject(view: JobView, named: dict[uuid.UUID, DocumentName]) -> _Subject | None:
    document = view.references.get("document")
    if document is not None:
        name = named.get(uuid.UUID(document))
        base = str(name.knowledge_base_id) if name is not None else None
        return _Subject("document", document, name.title if name is not None else None, base)
    base = view.references.get("knowledge_base")
    return _Subject("knowledge_base", base, None, base) if base is not None else None


class JobsView(AtriumView):
    """Background work of the tenant, or of all."""

    required_permission: ClassVar[str] = READ

    @extend_schema(
        operation_id="jobs_list",
        parameters=[*LISTING.parameters(), SCOPE_PARAMETER],
        responses=answers({200: page_of("JobPage", JobOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Jobs, the newest first. What a job works on is named, its content never."""
        who = principal(request)
        tenant_id = None if wants_platform(request) else who.tenant_id
        with board_scope(tenant_id):
            return LISTING.answer(
                request, job_rows(), lambda rows: show_jobs(who, [job_view(row) for row in rows]), JobOutput
            )


class JobKindsView(AtriumView):
    """The kinds of work."""

    required_permission: ClassVar[str] = READ

    @extend_schema(operation_id="jobs_kinds", responses=answers({200: JobKindsOutput}))
    def get(self, request: Request) -> Response:
        """Every kind of background work of this installation, for filters."""
        return Response({"kinds": sorted(settings.JOB_HANDLERS)})


class OneJobView(AtriumView):
    """One job."""

    required_permission: ClassVar[str] = READ

    @extend_schema(operation_id="jobs_get", parameters=[SCOPE_PARAMETER], responses=answers({200: JobOutput}))
    def get(self, request: Request, job: str) -> Response:
        """One job."""
        who = principal(request)
        found = find_job(tenant_id=None if wants_platform(request) else who.tenant_id, job_id=_id(job))
        return _answer(who, found)


class JobRetryView(AtriumView):
    """Try a failed job again."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="jobs_retry",
        request=None,
        parameters=[SCOPE_PARAMETER],
        responses=answers({200: JobOutput}, 409),
    )
    def post(self, request: Request, job: str) -> Response:
        """Queue a failed or cancelled job again, with all its attempts."""
        who, tenant_id = _whose(request, job)
        return _answer(who, retry_job(tenant_id=tenant_id, job_id=_id(job)))


class JobCancelView(AtriumView):
    """Cancel a queued job."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="jobs_cancel",
        request=None,
        parameters=[SCOPE_PARAMETER],
        responses=answers({200: JobOutput}, 409),
    )
    def post(self, request: Request, job: str) -> Response:
        """Cancel a job that has not begun. What removes the rest of something deleted cannot be cancelled."""
        who, tenant_id = _whose(request, job)
        if find_job(tenant_id=tenant_id, job_id=_id(job)).kind in NEVER_CANCELLED:
            raise Conflict("This job removes what was deleted; it cannot be cancelled.")
        return _answer(who, cancel_job(tenant_id=tenant_id, job_id=_id(job)))


def _whose(request: Request, job: str) -> tuple[Principal, uuid.UUID]:
    """Who asks, and the tenant of the job: any for operators over the platform. Raises as the views say."""
    who = principal(request)
    require(who, READ)
    if not wants_platform(request):
        return who, who.tenant_id
    return who, find_job(tenant_id=None, job_id=_id(job)).tenant_id


def _answer(who: Principal, view: JobView) -> Response:
    return Response(JobOutput(show_jobs(who, [view])[0]).data)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such job.")
    return found
