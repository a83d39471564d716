"""`/assistants`: the tenant's assistants."""

import re
from collections.abc import Mapping
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, pagination
from rest_framework.request import Request
from rest_framework.response import Response

from assistants import selectors
from assistants.serializers import SLUG_PATTERN, AssistantChange, AssistantInput, AssistantOutput
from assistants.services import create_assistant, delete_assistant, get_assistant, update_assistant
from kernel.errors import NotFound
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, CursorPages
from substrate.scoping import tenant_scope
from tenants.rest import principal

_SLUG = SLUG_PATTERN.rstrip("$")


class AssistantPages(CursorPages):
    """By slug."""

    ordering = "slug"

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        """The cursor of the request. Raises NotFound for one that this server did not make."""
        cursor = super().decode_cursor(request)
        if (
            cursor is not None
            and cursor.position is not None
            and not re.fullmatch(_SLUG, str(cursor.position))
        ):
            raise exceptions.NotFound(self.invalid_cursor_message)
        return cursor


class AssistantsView(AtriumView):
    """The tenant's assistants."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": "assistants.read", "POST": "assistants.write"}

    @extend_schema(
        operation_id="assistants_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("AssistantPage", AssistantOutput)}),
    )
    def get(self, request: Request) -> Response:
        """All assistants, by slug."""
        pages = AssistantPages()
        with tenant_scope(principal(request).tenant_id, read_only=True):
            rows = pages.paginate_queryset(selectors.assistants(), request, view=self) or []
        views = [selectors.assistant_view(row) for row in rows]
        return pages.get_paginated_response(AssistantOutput(views, many=True).data)

    @extend_schema(
        operation_id="assistants_create",
        request=AssistantInput,
        responses=answers({201: AssistantOutput}, 409),
    )
    def post(self, request: Request) -> Response:
        """Make an assistant."""
        form = AssistantInput(data=request.data)
        form.is_valid(raise_exception=True)
        made = create_assistant(principal=principal(request), **form.validated_data)
        return Response(AssistantOutput(made).data, status=201)


class AssistantView(AtriumView):
    """One assistant."""

    required_permission: ClassVar[Mapping[str, str]] = {
        "GET": "assistants.read",
        "PATCH": "assistants.write",
        "DELETE": "assistants.write",
    }

    @extend_schema(operation_id="assistants_get", responses=answers({200: AssistantOutput}))
    def get(self, request: Request, slug: str) -> Response:
        """One assistant."""
        return Response(AssistantOutput(get_assistant(principal=principal(request), slug=_slug(slug))).data)

    @extend_schema(
        operation_id="assistants_change", request=AssistantChange, responses=answers({200: AssistantOutput})
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Change what is given; in effect everywhere within two seconds."""
        form = AssistantChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = update_assistant(principal=principal(request), slug=_slug(slug), **form.validated_data)
        return Response(AssistantOutput(changed).data)

    @extend_schema(operation_id="assistants_delete", responses=answers({204: None}))
    def delete(self, request: Request, slug: str) -> Response:
        """Delete it; conversations held with it stay."""
        delete_assistant(principal=principal(request), slug=_slug(slug))
        return Response(status=204)


def _slug(text: str) -> str:
    if not re.fullmatch(_SLUG, text):
        raise NotFound("There is no such assistant.")
    return text
