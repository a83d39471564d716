"""`/assistants`: the tenant's assistants."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from assistants import selectors
from assistants.serializers import (
    MODEL_LENGTH,
    SLUG_PATTERN,
    AssistantChange,
    AssistantCopy,
    AssistantInput,
    AssistantOutput,
)
from assistants.services import (
    clear_semantic_cache,
    create_assistant,
    delete_assistant,
    duplicate_assistant,
    get_assistant,
    restore_assistant,
    show_assistants,
    update_assistant,
)
from assistants.services.catalogue import KEEP_DELETED
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import BadInput, NotFound
from kernel.ids import parse_uuid
from substrate.listings import Filter, Listing, text_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants.rest import principal
from tenants.services import require

_SLUG = SLUG_PATTERN.rstrip("$")
WRITE = "assistants.write"


def _base_id(text: str) -> str:
    found = parse_uuid(text)
    if found is None:
        raise ValueError("expected an id")
    return str(found)


ASSISTANTS = Listing(
    sorts={
        "slug": "slug",
        "name": "name",
        "model": "model",
        "created_at": "created_at",
        "updated_at": "updated_at",
    },
    default="slug",
    search=("slug", "name", "description"),
    filters={
        "model": text_filter("model", "A model's id, or `auto`.", longest=MODEL_LENGTH),
        "knowledge_base": Filter(
            "knowledge_base_ids__icontains",
            _base_id,
            {"type": "string", "format": "uuid"},
            "Those that use this knowledge base.",
        ),
    },
    csv=("slug", "name", "description", "model", "created_at", "updated_at"),
    file_name="assistants",
)
DELETED = OpenApiParameter(
    "deleted",
    OpenApiTypes.BOOL,
    description="Instead those that were deleted in the last 30 days and can be restored; needs `assistants.write`.",
)


class AssistantsView(AtriumView):
    """The tenant's assistants."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": "assistants.read", "POST": WRITE}

    @extend_schema(
        operation_id="assistants_list",
        parameters=[*ASSISTANTS.parameters(), DELETED],
        responses=answers({200: page_of("AssistantPage", AssistantOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """All assistants, by slug."""
        who = principal(request)
        deleted = _wants_deleted(request)
        if deleted:
            require(who, WRITE)
        with tenant_scope(who.tenant_id, read_only=True):
            since = SYSTEM_CLOCK.now() - KEEP_DELETED
            rows = selectors.deleted_assistants(since) if deleted else selectors.assistants()
            rows = selectors.without_closed(who, rows)
            return ASSISTANTS.answer(
                request,
                rows,
                lambda page: show_assistants(principal=who, rows=page),
                AssistantOutput,
            )

    @extend_schema(
        operation_id="assistants_create",
        request=AssistantInput,
        responses=answers({201: AssistantOutput}, 409),
    )
    def post(self, request: Request) -> Response:
        """Make an assistant."""
        form = AssistantInput(data=request.data)
        form.is_valid(raise_exception=True)
        return _answer(create_assistant(principal=principal(request), **form.validated_data), status=201)


class AssistantView(AtriumView):
    """One assistant."""

    required_permission: ClassVar[Mapping[str, str]] = {
        "GET": "assistants.read",
        "PATCH": WRITE,
        "DELETE": WRITE,
    }

    @extend_schema(operation_id="assistants_get", responses=answers({200: AssistantOutput}))
    def get(self, request: Request, slug: str) -> Response:
        """One assistant."""
        return _answer(get_assistant(principal=principal(request), slug=_slug(slug)))

    @extend_schema(
        operation_id="assistants_change",
        request=AssistantChange,
        responses=answers({200: AssistantOutput}, 412),
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Change what is given; in effect everywhere within two seconds."""
        form = AssistantChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = update_assistant(
            principal=principal(request),
            slug=_slug(slug),
            expected=expected_version(request),
            **form.validated_data,
        )
        return _answer(changed)

    @extend_schema(operation_id="assistants_delete", responses=answers({204: None}, 412))
    def delete(self, request: Request, slug: str) -> Response:
        """Delete it; conversations held with it stay. It can be restored for thirty days."""
        delete_assistant(principal=principal(request), slug=_slug(slug), expected=expected_version(request))
        return Response(status=204)


class AssistantRestoreView(AtriumView):
    """The way back of a deleted assistant."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="assistants_restore", request=None, responses=answers({200: AssistantOutput}, 409)
    )
    def post(self, request: Request, slug: str) -> Response:
        """Bring back the assistant of this slug that was deleted last."""
        return _answer(restore_assistant(principal=principal(request), slug=_slug(slug)))


class AssistantCopyView(AtriumView):
    """Copies of an assistant."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="assistants_duplicate",
        request=AssistantCopy,
        responses=answers({201: AssistantOutput}, 409),
    )
    def post(self, request: Request, slug: str) -> Response:
        """Make a copy under another slug."""
        form = AssistantCopy(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        made = duplicate_assistant(
            principal=principal(request),
            slug=_slug(slug),
            new_slug=values.get("slug"),
            name=values.get("name"),
        )
        return _answer(made, status=201)


class AssistantCacheView(AtriumView):
    """What is kept of an assistant's answers."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(operation_id="assistants_clear_cache", responses=answers({204: None}))
    def delete(self, request: Request, slug: str) -> Response:
        """Throw it away: no answer that was given before is given again. In effect everywhere within two seconds."""
        clear_semantic_cache(principal=principal(request), slug=_slug(slug))
        return Response(status=204)


def _answer(view: Any, *, status: int = 200) -> Response:
    shown = AssistantOutput(view).data
    response = Response(shown, status=status)
    response["ETag"] = f'"{shown["version"]}"'
    return response


def _wants_deleted(request: Request) -> bool:
    text = request.query_params.get("deleted", "")
    if text not in ("", "true", "false"):
        raise BadInput("deleted is true or false.", param="deleted")
    return text == "true"


def _slug(text: str) -> str:
    if not re.fullmatch(_SLUG, text):
        raise NotFound("There is no such assistant.")
    return text
