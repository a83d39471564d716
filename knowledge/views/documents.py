"""`/knowledge-bases/{id}/documents` and `/documents`: handing in, looking up, trying again, deleting."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
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
    DocumentChange,
    DocumentOutput,
    PassagesOutput,
    TextDocumentInput,
    UploadInput,
)
from knowledge.services import (
    create_text_document,
    delete_document,
    describe_document,
    get_document,
    get_knowledge_base,
    list_passages,
    retry_document,
    upload_document,
    without_content,
)
from knowledge.types import DocumentView as DocumentFound
from knowledge.types import NewDocument, Upserted, UpsertOutcome
from knowledge.views.shared import IF_MATCH, BoundedView, base_id, document_id
from substrate.listings import Listing, choice_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants.rest import principal

INSPECT, READ, WRITE = "knowledge.inspect", "knowledge.read", "knowledge.write"
LISTING = Listing(
    sorts={
        "created_at": "id",
        "title": "title",
        "state": "state",
        "size_bytes": "size",
        "chunk_count": "chunk_count",
        "updated_at": "updated_at",
    },
    default="-created_at",
    search=("title",),
    filters={"state": choice_filter("state", STATES)},
    csv=(
        "id",
        "title",
        "external_id",
        "state",
        "error_code",
        "error",
        "media_type",
        "size_bytes",
        "chunk_count",
        "page_count",
        "created_at",
        "updated_at",
    ),
    file_name="documents",
)
DEFAULT_PASSAGES = 20


class DocumentsView(BoundedView):
    """Documents of a knowledge base."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": INSPECT, "POST": WRITE}
    parser_classes = (JSONParser, MultiPartParser)

    @extend_schema(
        operation_id="documents_list",
        parameters=LISTING.parameters(),
        responses=answers({200: page_of("DocumentPage", DocumentOutput), **CSV_FILE}),
    )
    def get(self, request: Request, knowledge_base_id: str) -> HttpResponseBase:
        """Documents, the newest first."""
        who, base = principal(request), base_id(knowledge_base_id)
        get_knowledge_base(principal=who, knowledge_base_id=base)

        def show(rows: list[Any]) -> list[DocumentFound]:
            return [without_content(who, selectors.document_view(row)) for row in rows]

        with tenant_scope(who.tenant_id, read_only=True):
            return LISTING.answer(request, selectors.documents(base), show, DocumentOutput)

    @extend_schema(
        operation_id="documents_create",
        request={"application/json": TextDocumentInput, "multipart/form-data": UploadInput},
        responses=answers({201: DocumentOutput, 200: DocumentOutput}, 409, 413, 415, 429, 503),
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
            size=file.size or 1,
        )


class DocumentInBaseView(AtriumView):
    """One document of a knowledge base."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": INSPECT, "DELETE": WRITE}

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

    required_permission: ClassVar[Mapping[str, str]] = {"GET": INSPECT, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(operation_id="documents_get", responses=answers({200: DocumentOutput}))
    def get(self, request: Request, document: str) -> Response:
        """One document."""
        return _answer(get_document(principal=principal(request), document_id=document_id(document)))

    @extend_schema(
        operation_id="documents_change",
        request=DocumentChange,
        parameters=[IF_MATCH],
        responses=answers({200: DocumentOutput}, 412),
    )
    def patch(self, request: Request, document: str) -> Response:
        """Replace its address or metadata; the content stays, nothing is ingested again."""
        form = DocumentChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = describe_document(
            principal=principal(request),
            document_id=document_id(document),
            expected=expected_version(request),
            **form.validated_data,
        )
        return _answer(changed)

    @extend_schema(operation_id="documents_delete", responses=answers({204: None}))
    def delete(self, request: Request, document: str) -> Response:
        """Delete it; searches and citations end at once. For seven days it can be restored."""
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


def _answer(view: DocumentFound) -> Response:
    return Response(DocumentOutput(view).data, headers={"ETag": f'"{view.revision}"'})


def _limit(text: str) -> int:
    """The number asked for. Raises BadInput outside of 1 to the most there may be."""
    if not text:
        return DEFAULT_PASSAGES
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_PASSAGES):
        raise BadInput(f"limit is a number from 1 to {MAX_PASSAGES}.", param="limit")
    return int(text)
