"""`/knowledge-bases/{id}/documents:bulk`: one document a line."""

import json
from collections.abc import Mapping
from typing import IO, Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import BadInput, TooLarge
from knowledge.limits import MAX_BULK_BYTES, MAX_BULK_LINES
from knowledge.serializers import BulkOutput, TextDocumentInput
from knowledge.services import CheckedLine, upsert_lines
from knowledge.views.shared import BoundedView, base_id
from substrate.openapi import answers
from tenants.rest import principal


class LinesParser(BaseParser):
    """NDJSON as its lines; each is parsed where its own error can be told."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, list[bytes]]:
        """`lines` of the body. Raises TooLarge beyond 50 MB or 10,000 lines."""
        content: bytes = stream.read(MAX_BULK_BYTES + 1)
        if len(content) > MAX_BULK_BYTES:
            raise TooLarge(f"The body is larger than {MAX_BULK_BYTES // (1024 * 1024)} MB.")
        lines = content.split(b"\n")
        if len(lines) > MAX_BULK_LINES + 1:
            raise TooLarge(f"The body has more than {MAX_BULK_LINES:,} lines.")
        return {"lines": lines}


class BulkView(BoundedView):
    """Many documents in one request."""

    required_permission: ClassVar[str] = "knowledge.write"
    parser_classes = (LinesParser,)

    @extend_schema(
        operation_id="documents_bulk",
        request={"application/x-ndjson": TextDocumentInput},
        responses=answers({200: BulkOutput}, 413, 415, 429, 503),
    )
    def post(self, request: Request, knowledge_base_id: str) -> Response:
        """Hand in one document a line; each `external_id` that is known is replaced. Each line is answered."""
        lines = [
            _check(number, line) for number, line in enumerate(_lines(request.data), start=1) if line.strip()
        ]
        if not lines:
            raise BadInput("The body holds no documents.")
        results = upsert_lines(
            principal=principal(request), knowledge_base_id=base_id(knowledge_base_id), lines=lines
        )
        failed = sum(each.error is not None for each in results)
        body = {"results": results, "accepted": len(results) - failed, "failed": failed}
        return Response(BulkOutput(body).data)


def _lines(body: Any) -> list[bytes]:
    """What the parser gave; an empty body never reaches it."""
    lines: list[bytes] = body.get("lines", [])
    return lines


def _check(number: int, line: bytes) -> CheckedLine:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return CheckedLine(number, None, error="The line is not valid JSON.")
    if not isinstance(body, dict):
        return CheckedLine(number, None, error="The line is not a JSON object.")
    named = body.get("external_id")
    external_id = named[:500] if isinstance(named, str) else ""
    form = TextDocumentInput(data=body)
    try:
        form.is_valid(raise_exception=True)
    except ValidationError as error:
        return CheckedLine(number, None, error=_told(error.detail), external_id=_plain(external_id))
    return CheckedLine(number, form.as_document(), form.validated_data["text"], external_id=external_id)


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _told(detail: Any) -> str:
    """The first complaint, with its field."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            return f"{name}: {_told(inner)}"
    if isinstance(detail, list) and detail:
        return _told(detail[0])
    return str(detail) if isinstance(detail, ErrorDetail) else "The line is not valid."
