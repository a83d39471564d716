"""`/knowledge-bases/{id}/documents` and `/documents`: handing in, looking up, trying again, deleting."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import BadInput, NotFound
from kernel.ids import parse_uuid
from knowledge import selectors
from knowledge.limits import MAX_PASSAGES
from knowledge.serializers import (
    STATES,
    DocumentOutput,
    PassagesOutput,
    TextDocumentInput,
    UploadInput,
)
from knowledge.services import (
    create_text_document,
    delete_document,
    get_document,
    get_knowledge_base,
    list_passages,
    retry_document,
    upload_document,
)
from knowledge.types import NewDocument, Upserted, UpsertOutcome
from knowledge.views.shared import BoundedView, base_id, document_id
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, CursorPages
from substrate.scoping import tenant_scope
from tenants.rest import principal

READ, WRITE = "knowledge.read", "knowledge.write"
DEFAULT_PASSAGES = 20


class DocumentsView(BoundedView):
    """Documents of a knowledge base."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "POST": WRITE}
    parser_classes = (JSONParser, MultiPartParser)

    @extend_schema(
        operation_id="documents_list",
        parameters=[*PAGE_PARAMETERS, OpenApiParameter("state", OpenApiTypes.STR, enum=STATES)],
        responses=answers({200: page_of("DocumentPage", DocumentOutput)}),
    )
    def get(self, request: Request, knowledge_base_id: str) -> Response:
        """Documents, the newest first; `state` shows one state alone."""
        who, base = principal(request), base_id(knowledge_base_id)
        state = request.query_params.get("state", "")
        if state and state not in STATES:
            raise BadInput(f"state is one of {', '.join(STATES)}.", param="state")
        get_knowledge_base(principal=who, knowledge_base_id=base)
        pages = CursorPages()
        with tenant_scope(who.tenant_id, read_only=True):
            rows = pages.paginate_queryset(selectors.documents(base, state=state), request, view=self) or []
            views = [selectors.document_view(row) for row in rows]
        return pages.get_paginated_response(DocumentOutput(views, many=True).data)

    @extend_schema(
        operation_id="documents_create",
        request={"application/json": TextDocumentInput, "multipart/form-data": UploadInput},
        responses=answers({201: DocumentOutput, 200: DocumentOutput}, 409, 413, 415, 503),
    )
    def post(self, request: Request, knowledge_base_id: str) -> Response:
        """Hand in a text, or a file (txt, md, html, pdf, docx, csv). Answered once it is queued.

        201 for a new document; 200 when its `external_id` was known and it was replaced or found unchanged.
        """
        multipart = str(request.content_type or "").startswith("multipart/")
        done = (
            self._upload(request, knowledge_base_id) if multipart else self._text(request, knowledge_base_id)
        )
        status = 201 if done.outcome is UpsertOutcome.CREATED else 200
        return Response(DocumentOutput(done.document).data, status=status)

    def _text(self, request: Request, knowledge_base_id: str) -> Upserted:
        form = TextDocumentInput(data=request.data)
        form.is_valid(raise_exception=True)
        return create_text_document(
            principal=principal(request),
            knowledge_base_id=base_id(knowledge_base_id),
            new=form.as_document(),
            text=form.validated_data["text"],
        )

    def _upload(self, request: Request, knowledge_base_id: str) -> Upserted:
        form = UploadInput(data=request.data)
        form.is_valid(raise_exception=True)
        given: dict[str, Any] = dict(form.validated_data)
        file = given.pop("file")
        name = str(file.name or "file").replace("\x00", "")[-255:]
        title = given.pop("title", "") or name
        new = NewDocument(title=title, file_name=name, media_type=str(file.content_type or "")[:200], **given)
        return upload_document(
            principal=principal(request),
            knowledge_base_id=base_id(knowledge_base_id),
            new=new,
            pieces=file.chunks(),
        )


class DocumentInBaseView(AtriumView):
    """One document of a knowledge base."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "DELETE": WRITE}

    @extend_schema(operation_id="documents_get_in_base", responses=answers({200: DocumentOutput}))
    def get(self, request: Request, knowledge_base_id: str, document: str) -> Response:
        """One document."""
        found = get_document(
            principal=principal(request),
            document_id=document_id(document),
            knowledge_base_id=base_id(knowledge_base_id),
        )
        return Response(DocumentOutput(found).data)

    @extend_schema(operation_id="documents_delete_in_base", responses=answers({204: None}))
    def delete(self, request: Request, knowledge_base_id: str, document: str) -> Response:
        """Delete it; searches and citations end at once."""
        delete_document(
            principal=principal(request),
            document_id=document_id(document),
            knowledge_base_id=base_id(knowledge_base_id),
        )
        return Response(status=204)


class RetryView(AtriumView):
    """Ingest a document again."""

    required_permission: ClassVar[str] = WRITE

    @extend_schema(
        operation_id="documents_retry", request=None, responses=answers({200: DocumentOutput}, 409)
    )
    def post(self, request: Request, knowledge_base_id: str, document: str) -> Response:
        """Queue the document again after a failure, or to index it anew."""
        queued = retry_document(
            principal=principal(request),
            document_id=document_id(document),
            knowledge_base_id=base_id(knowledge_base_id),
        )
        return Response(DocumentOutput(queued).data)


class DocumentView(AtriumView):
    """One document, by its id alone."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "DELETE": WRITE}

    @extend_schema(operation_id="documents_get", responses=answers({200: DocumentOutput}))
    def get(self, request: Request, document: str) -> Response:
        """One document."""
        found = get_document(principal=principal(request), document_id=document_id(document))
        return Response(DocumentOutput(found).data)

    @extend_schema(operation_id="documents_delete", responses=answers({204: None}))
    def delete(self, request: Request, document: str) -> Response:
        """Delete it; searches and citations end at once."""
        delete_document(principal=principal(request), document_id=document_id(document))
        return Response(status=204)


class PassagesView(AtriumView):
    """The text of a document, passage by passage."""

    required_permission: ClassVar[str] = READ

    @extend_schema(
        operation_id="documents_passages",
        parameters=[
            OpenApiParameter(
                "around", OpenApiTypes.UUID, description="The chunk that shall be in the middle."
            ),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_PASSAGES, "default": DEFAULT_PASSAGES},
            ),
        ],
        responses=answers({200: PassagesOutput}),
    )
    def get(self, request: Request, document: str) -> Response:
        """Passages in order: around a chunk that was cited, or from the start."""
        around = request.query_params.get("around", "")
        chunk = parse_uuid(around)
        if around and chunk is None:
            raise NotFound("There is no such passage in this document.")
        found, passages = list_passages(
            principal=principal(request),
            document_id=document_id(document),
            around=chunk,
            limit=_limit(request.query_params.get("limit", "")),
        )
        return Response(PassagesOutput({"document": found, "passages": passages}).data)


def _limit(text: str) -> int:
    """The number asked for. Raises BadInput outside of 1 to the most there may be."""
    if not text:
        return DEFAULT_PASSAGES
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_PASSAGES):
        raise BadInput(f"limit is a number from 1 to {MAX_PASSAGES}.", param="limit")
    return int(text)
