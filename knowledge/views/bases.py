"""`/knowledge-bases`: bases, and searching one."""

import time
from collections.abc import Mapping
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

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
    search,
    update_knowledge_base,
)
from knowledge.types import SearchMode
from knowledge.views.shared import base_id
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, CursorPages
from substrate.scoping import tenant_scope
from tenants.rest import principal

READ, WRITE = "knowledge.read", "knowledge.write"


class KnowledgeBasesView(AtriumView):
    """Knowledge bases of the tenant."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "POST": WRITE}

    @extend_schema(
        operation_id="knowledge_bases_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("KnowledgeBasePage", KnowledgeBaseOutput)}),
    )
    def get(self, request: Request) -> Response:
        """Knowledge bases, the newest first."""
        pages = CursorPages()
        with tenant_scope(principal(request).tenant_id, read_only=True):
            rows = pages.paginate_queryset(selectors.knowledge_bases(), request, view=self) or []
            views = selectors.base_views(list(rows))
        return pages.get_paginated_response(KnowledgeBaseOutput(views, many=True).data)

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

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(operation_id="knowledge_bases_get", responses=answers({200: KnowledgeBaseOutput}))
    def get(self, request: Request, knowledge_base_id: str) -> Response:
        """One knowledge base."""
        found = get_knowledge_base(principal=principal(request), knowledge_base_id=base_id(knowledge_base_id))
        return Response(KnowledgeBaseOutput(found).data)

    @extend_schema(
        operation_id="knowledge_bases_change",
        request=KnowledgeBaseChange,
        responses=answers({200: KnowledgeBaseOutput}, 409),
    )
    def patch(self, request: Request, knowledge_base_id: str) -> Response:
        """Change its name, description or alpha."""
        form = KnowledgeBaseChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = update_knowledge_base(
            principal=principal(request), knowledge_base_id=base_id(knowledge_base_id), **form.validated_data
        )
        return Response(KnowledgeBaseOutput(changed).data)

    @extend_schema(operation_id="knowledge_bases_delete", responses=answers({204: None}))
    def delete(self, request: Request, knowledge_base_id: str) -> Response:
        """Delete it with all its documents; searches and citations end at once."""
        delete_knowledge_base(principal=principal(request), knowledge_base_id=base_id(knowledge_base_id))
        return Response(status=204)


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
