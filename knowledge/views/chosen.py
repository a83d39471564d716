"""Acts on chosen documents, and what becomes of deleted ones: `documents:retry`, `documents:delete`, restoring, saving."""

from typing import ClassVar
from urllib.parse import quote

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from knowledge import selectors
from knowledge.serializers import (
    BulkOutcomeOutput,
    DocumentOutput,
    DocumentsChosen,
    RemovedDocumentOutput,
    RetryInput,
)
from knowledge.services import (
    delete_documents,
    get_knowledge_base,
    read_file,
    restore_document,
    retry_documents,
)
from knowledge.views.shared import base_id, document_id
from substrate.listings import Listing
from substrate.openapi import answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from tenants.rest import principal

WRITE = "knowledge.write"
REMOVED = Listing(
    sorts={"deleted_at": "created_at", "title": "title"}, default="-deleted_at", search=("title",)
)


class RetryDocumentsView(AtriumView):
    """Ingest several documents again."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="documents_retry_chosen",
        request=RetryInput,
        responses=answers({200: BulkOutcomeOutput}),
    )
    def post(self, request: Request, knowledge_base_id: str) -> Response:
        """Queue the chosen documents again, or all that failed; those at work stay as they are."""
        form = RetryInput(data=request.data)
        form.is_valid(raise_exception=True)
        done = retry_documents(
            principal=principal(request),
            knowledge_base_id=base_id(knowledge_base_id),
            document_ids=form.validated_data.get("document_ids"),
        )
        return Response(BulkOutcomeOutput(done).data)


class DeleteDocumentsView(AtriumView):
    """Delete several documents."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="documents_delete_chosen",
        request=DocumentsChosen,
        responses=answers({200: BulkOutcomeOutput}),
    )
    def post(self, request: Request, knowledge_base_id: str) -> Response:
        """Delete the chosen documents; ids that the base does not know are left out."""
        form = DocumentsChosen(data=request.data)
        form.is_valid(raise_exception=True)
        done = delete_documents(
            principal=principal(request),
            knowledge_base_id=base_id(knowledge_base_id),
            document_ids=form.validated_data["document_ids"],
        )
        return Response(BulkOutcomeOutput(done).data)


class RemovedDocumentsView(AtriumView):
    """Deleted documents of a base."""

    required_permission: ClassVar[str] = "knowledge.inspect"

    @extend_schema(
        operation_id="removed_documents_list",
        parameters=REMOVED.parameters(),
        responses=answers({200: page_of("RemovedDocumentPage", RemovedDocumentOutput)}),
    )
    def get(self, request: Request, knowledge_base_id: str) -> HttpResponseBase:
        """Documents that were deleted and can still be restored, the last deleted first."""
        who, base = principal(request), base_id(knowledge_base_id)
        get_knowledge_base(principal=who, knowledge_base_id=base)
        with tenant_scope(who.tenant_id, read_only=True):
            return REMOVED.answer(
                request,
                selectors.removed_documents(base),
                lambda rows: [selectors.removed_view(row) for row in rows],
                RemovedDocumentOutput,
            )


class RestoreDocumentView(AtriumView):
    """Bring a deleted document back."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="documents_restore", request=None, responses=answers({200: DocumentOutput}, 409)
    )
    def post(self, request: Request, document: str) -> Response:
        """Restore it; possible for seven days. Its content is ingested again."""
        restored = restore_document(principal=principal(request), document_id=document_id(document))
        return Response(DocumentOutput(restored).data)


class FileView(AtriumView):
    """The file of a document."""

    required_permission: ClassVar[str] = "knowledge.read"

    @extend_schema(
        operation_id="documents_file",
        responses={**answers({}, 503), (200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, document: str) -> HttpResponse:
        """The file as it was handed in, to be saved."""
        file = read_file(principal=principal(request), document_id=document_id(document))
        # Never shown by the browser itself: what people handed in must not run as a page of ours.
        return HttpResponse(
            file.content,
            content_type="application/octet-stream",
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, no-store",
            },
        )
