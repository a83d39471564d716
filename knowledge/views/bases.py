"""`/knowledge-bases`: bases, and searching one."""

import time
from collections.abc import Mapping
from typing import ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import BadInput
from knowledge import selectors
from knowledge.serializers import (
    KnowledgeBaseChange,
    KnowledgeBaseInput,
    KnowledgeBaseOutput,
    SearchInput,
    SearchOutput,
)
from knowledge.services import (
    create_knowledge_base,
    delete_knowledge_base,
    get_knowledge_base,
    restore_knowledge_base,
    search,
    update_knowledge_base,
)
from knowledge.types import KnowledgeBaseView as BaseFound
from knowledge.types import SearchMode
from knowledge.views.shared import IF_MATCH, base_id
from substrate.listings import Listing
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants.rest import principal

INSPECT, READ, WRITE = "knowledge.inspect", "knowledge.read", "knowledge.write"
LISTING = Listing(
    sorts={"created_at": "id", "name": "name", "updated_at": "updated_at"},
    default="-created_at",
    search=("name", "description"),
    csv=("id", "name", "description", "document_count", "embedding_model", "created_at", "updated_at"),
    file_name="knowledge-bases",
)
DELETED = OpenApiParameter(
    "deleted", bool, description="Those that are deleted and can be restored, in place of the others."
)


class KnowledgeBasesView(AtriumView):
    """Knowledge bases of the tenant."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": INSPECT, "POST": WRITE}

    @extend_schema(
        operation_id="knowledge_bases_list",
        parameters=[*LISTING.parameters(), DELETED],
        responses=answers({200: page_of("KnowledgeBasePage", KnowledgeBaseOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Knowledge bases, the newest first, with how many documents are in each state."""
        deleted = request.query_params.get("deleted", "false")
        if deleted not in ("true", "false"):
            raise BadInput("deleted is true or false.", param="deleted")
        with tenant_scope(principal(request).tenant_id, read_only=True):
            rows = selectors.open_bases(principal(request), deleted=deleted == "true")
            return LISTING.answer(request, rows, selectors.base_views, KnowledgeBaseOutput)

    @extend_schema(
        operation_id="knowledge_bases_create",
        request=KnowledgeBaseInput,
        responses=answers({201: KnowledgeBaseOutput}, 409),
    )
    def post(self, request: Request) -> Response:
        """Make a knowledge base."""
        form = KnowledgeBaseInput(data=request.data)
        form.is_valid(raise_exception=True)
        made = create_knowledge_base(principal=principal(request), **form.validated_data)
        return Response(KnowledgeBaseOutput(made).data, status=201)


class KnowledgeBaseView(AtriumView):
    """One knowledge base."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": INSPECT, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(operation_id="knowledge_bases_get", responses=answers({200: KnowledgeBaseOutput}))
    def get(self, request: Request, knowledge_base_id: str) -> Response:
        """One knowledge base."""
        found = get_knowledge_base(principal=principal(request), knowledge_base_id=base_id(knowledge_base_id))
        return _answer(found)

    @extend_schema(
        operation_id="knowledge_bases_change",
        request=KnowledgeBaseChange,
        parameters=[IF_MATCH],
        responses=answers({200: KnowledgeBaseOutput}, 409, 412),
    )
    def patch(self, request: Request, knowledge_base_id: str) -> Response:
        """Change its name, description or alpha."""
        form = KnowledgeBaseChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = update_knowledge_base(
            principal=principal(request),
            knowledge_base_id=base_id(knowledge_base_id),
            expected=expected_version(request),
            **form.validated_data,
        )
        return _answer(changed)

    @extend_schema(operation_id="knowledge_bases_delete", responses=answers({204: None}))
    def delete(self, request: Request, knowledge_base_id: str) -> Response:
        """Delete it with all its documents; searches and citations end at once. For seven days it can be restored."""
        delete_knowledge_base(principal=principal(request), knowledge_base_id=base_id(knowledge_base_id))
        return Response(status=204)


class RestoreBaseView(AtriumView):
    """Bring a deleted knowledge base back."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="knowledge_bases_restore",
        request=None,
        responses=answers({200: KnowledgeBaseOutput}, 409),
    )
    def post(self, request: Request, knowledge_base_id: str) -> Response:
        """Restore it with all its documents, as it was; possible for seven days."""
        restored = restore_knowledge_base(
            principal=principal(request), knowledge_base_id=base_id(knowledge_base_id)
        )
        return _answer(restored)


class SearchView(AtriumView):
    """Search in one knowledge base."""

    required_permission: ClassVar[str] = READ

    @extend_schema(
        operation_id="knowledge_bases_search",
        request=SearchInput,
        responses=answers({200: SearchOutput}, 409, 429, 503),
    )
    def post(self, request: Request, knowledge_base_id: str) -> Response:
        """The passages that answer best, by meaning, by words, or both."""
        began = time.perf_counter()
        form = SearchInput(data=request.data)
        form.is_valid(raise_exception=True)
        given = form.validated_data
        found = search(
            principal=principal(request),
            knowledge_base_id=base_id(knowledge_base_id),
            query=given["query"],
            limit=given.get("limit", 8),
            mode=SearchMode(given.get("mode", SearchMode.HYBRID)),
            alpha=given.get("alpha"),
            filters=form.as_filters(),
        )
        took_ms = round((time.perf_counter() - began) * 1000, 2)
        return Response(SearchOutput({"results": found, "took_ms": took_ms}).data)


def _answer(view: BaseFound) -> Response:
    return Response(KnowledgeBaseOutput(view).data, headers={"ETag": f'"{view.version}"'})
