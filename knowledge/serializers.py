"""Shapes of the REST API of knowledge: what comes in is strict, what goes out is documented."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from kernel.ids import parse_uuid
from knowledge.limits import (
    MAX_ACL_ENTRIES,
    MAX_CHOSEN_DOCUMENTS,
    MAX_FILTER_VALUES,
    MAX_HITS,
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_QUERY_CHARS,
    MAX_TEXT_CHARS,
)
from knowledge.types import DocumentState, NewDocument, SearchFilters, SearchMode, UpsertOutcome
from substrate.rest import StrictSerializer, ToldField

STATES = [each.value for each in DocumentState]
MODES = [each.value for each in SearchMode]
_METADATA_KEY = re.compile(r"[^\x00\ud800-\udfff\"\\]{1,100}")


class AlphaField(serializers.FloatField):
    """A weight from 0 to 1; no NaN, which passes every comparison."""

    def __init__(self, **options: Any) -> None:
        """As any number field."""
        super().__init__(min_value=0.0, max_value=1.0, **options)

    def to_internal_value(self, data: Any) -> float:
        """The number. Raises ValidationError."""
        if isinstance(data, bool | str):
            self.fail("invalid")
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class WebAddressField(serializers.CharField):
    """Where the document can be seen: an http or https address, or a path of the caller's own."""

    def to_internal_value(self, data: Any) -> str:
        """The address. Raises ValidationError for schemes that a browser would run."""
        value = super().to_internal_value(data)
        if re.match(r"^\s*[A-Za-z][A-Za-z0-9+.-]*:", value) and not re.match(r"^https?://", value):
            raise serializers.ValidationError("Give an http or https address.")
        return value


@extend_schema_field(OpenApiTypes.OBJECT)
class MetadataField(serializers.Field[Any, Any, Any, Any]):
    """A small JSON object; in a form, its text."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """The object. Raises ValidationError when it is none, too large, too deep, or holds NUL."""
        if isinstance(data, str):
            data = _from_text(data)
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give a JSON object.")
        _check_json(data, MAX_METADATA_DEPTH)
        if len(json.dumps(data)) > MAX_METADATA_BYTES:
            raise serializers.ValidationError(f"At most {MAX_METADATA_BYTES} bytes as JSON.")
        return data

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


def _from_text(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise serializers.ValidationError("Not valid JSON.") from error


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _check_json(value: Any, depth: int) -> None:
    """Strings that no database refuses, finite numbers, bounded depth."""
    if depth < 0:
        raise serializers.ValidationError(f"Nested deeper than {MAX_METADATA_DEPTH} levels.")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise serializers.ValidationError("Numbers must be finite.")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
        raise serializers.ValidationError("A number is too large.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(str(key))
            _check_json(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_json(inner, depth - 1)


def _check_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise serializers.ValidationError("Null characters and lone surrogates are not allowed.")


class KnowledgeBaseInput(StrictSerializer):
    """A new knowledge base. `alpha` weighs a hybrid search: 1 meaning alone, 0 words alone."""

    name = serializers.CharField(max_length=200)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    alpha = AlphaField(required=False)


class KnowledgeBaseChange(StrictSerializer):
    """What of a knowledge base may be changed."""

    name = serializers.CharField(max_length=200, required=False)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    alpha = AlphaField(required=False)


class DocumentStatesOutput(serializers.Serializer[Any]):
    """How many documents are in each state."""

    queued = serializers.IntegerField()
    processing = serializers.IntegerField()
    ready = serializers.IntegerField()
    failed = serializers.IntegerField()


class KnowledgeBaseOutput(serializers.Serializer[Any]):
    """A knowledge base. `deleted_at` is null unless it is deleted and can be restored. `version` is for `If-Match`."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    alpha = serializers.FloatField()
    embedding_model = serializers.CharField(allow_blank=True)
    dimensions = serializers.IntegerField()
    document_count = serializers.IntegerField()
    states = DocumentStatesOutput()
    version = serializers.CharField()
    deleted_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class _Described(StrictSerializer):
    """What a document is handed in with, beside its content. `acl` is stored; nothing enforces it yet."""

    external_id = serializers.CharField(max_length=500, required=False, allow_blank=True)
    url = WebAddressField(max_length=2000, required=False, allow_blank=True)
    metadata = MetadataField(required=False)


class TextDocumentInput(_Described):
    """A document as text. An `external_id` that the base knows replaces that document."""

    title = serializers.CharField(max_length=500)
    text = serializers.CharField(max_length=MAX_TEXT_CHARS, trim_whitespace=False)
    acl = serializers.ListField(
        child=serializers.CharField(max_length=200), max_length=MAX_ACL_ENTRIES, required=False
    )

    def as_document(self) -> NewDocument:
        """What was validated, without its text."""
        given = dict(self.validated_data)
        del given["text"]
        return NewDocument(media_type="text/plain", **given)


class UploadInput(_Described):
    """A file. Its name is its title unless another is given. `metadata` is the text of a JSON object."""

    file = serializers.FileField(max_length=1000)
    title = serializers.CharField(max_length=500, required=False, allow_blank=True)


class DocumentChange(StrictSerializer):
    """What describes a document, to be replaced; its content stays."""

    url = WebAddressField(max_length=2000, required=False, allow_blank=True)
    metadata = MetadataField(required=False)


class DocumentsChosen(StrictSerializer):
    """Some documents of a base."""

    document_ids = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MAX_CHOSEN_DOCUMENTS
    )


class RetryInput(StrictSerializer):
    """Some documents of a base; without `document_ids` all that failed, 500 at a time."""

    document_ids = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MAX_CHOSEN_DOCUMENTS, required=False
    )


class BulkOutcomeOutput(serializers.Serializer[Any]):
    """How many documents were reached; `remaining`: how many are left for the same request again."""

    done = serializers.IntegerField()
    remaining = serializers.IntegerField()


class RemovedDocumentOutput(serializers.Serializer[Any]):
    """A document that was deleted and can still be restored."""

    id = serializers.CharField()
    knowledge_base_id = serializers.CharField()
    title = serializers.CharField()
    size_bytes = serializers.IntegerField()
    deleted_at = serializers.DateTimeField()


class DocumentOutput(serializers.Serializer[Any]):
    """A document. `error` says for people why it failed, `error_code` names the reason for good.

    `error_code` of a queued document says why its last attempt ended. `version` counts its contents; `revision` is for
    `If-Match`. `metadata` and `acl` are empty to who may not read knowledge. `user_id` is who handed in the content that is
    there: it counts for this user's limits and for those of the groups that they are in.
    """

    id = serializers.CharField()
    knowledge_base_id = serializers.CharField()
    title = serializers.CharField()
    external_id = serializers.CharField(allow_blank=True)
    url = serializers.CharField(allow_blank=True)
    media_type = serializers.CharField(allow_blank=True)
    file_name = serializers.CharField(allow_blank=True)
    size_bytes = serializers.IntegerField()
    metadata = MetadataField()
    acl = serializers.ListField(child=serializers.CharField())
    state = serializers.ChoiceField(STATES)
    error = ToldField(allow_null=True)
    error_code = serializers.CharField(allow_null=True)
    chunk_count = serializers.IntegerField()
    page_count = serializers.IntegerField()
    version = serializers.IntegerField()
    user_id = serializers.CharField(allow_null=True)
    revision = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class BulkLineOutput(serializers.Serializer[Any]):
    """What became of one line. `outcome` is null when it was not taken; `error` then says why."""

    line = serializers.IntegerField()
    outcome = serializers.ChoiceField([each.value for each in UpsertOutcome], allow_null=True)
    document_id = serializers.CharField(allow_null=True)
    external_id = serializers.CharField(allow_blank=True)
    error = ToldField(allow_null=True)


class BulkOutput(serializers.Serializer[Any]):
    """One entry per line that was not blank, in order, and how many were taken."""

    results = BulkLineOutput(many=True)
    accepted = serializers.IntegerField()
    failed = serializers.IntegerField()


class _FiltersInput(StrictSerializer):
    """What narrows a search; all that is given must hold. `metadata` values are compared for equality."""

    document_ids = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=MAX_FILTER_VALUES, required=False
    )
    external_ids = serializers.ListField(
        child=serializers.CharField(max_length=500), max_length=MAX_FILTER_VALUES, required=False
    )
    media_types = serializers.ListField(
        child=serializers.CharField(max_length=200), max_length=MAX_FILTER_VALUES, required=False
    )
    metadata = MetadataField(required=False)

    def validate_metadata(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Few plain keys, plain values."""
        if len(value) > 10:
            raise serializers.ValidationError("At most 10 keys.")
        for key, wanted in value.items():
            if not _METADATA_KEY.fullmatch(key):
                raise serializers.ValidationError(
                    "A key has 1–100 letters, none of them a quote or backslash."
                )
            if not isinstance(wanted, str | int | float | bool):
                raise serializers.ValidationError("A value is a text, a number, true or false.")
        return value


class SearchInput(StrictSerializer):
    """A question to a knowledge base. `alpha` unset takes the base's own."""

    query = serializers.CharField(max_length=MAX_QUERY_CHARS)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_HITS, required=False)
    mode = serializers.ChoiceField(MODES, required=False)
    alpha = AlphaField(required=False)
    filters = _FiltersInput(required=False)

    def as_filters(self) -> SearchFilters:
        """The filters; ids that are no UUID match nothing, and so does a filter of only such."""
        given = dict(self.validated_data.get("filters", {}))
        ids = given.pop("document_ids", [])
        parsed = tuple(found for each in ids if (found := parse_uuid(each)) is not None)
        if ids and not parsed:
            raise serializers.ValidationError({"filters": {"document_ids": ["None of these is an id."]}})
        lists = {name: tuple(values) for name, values in given.items() if name != "metadata"}
        return SearchFilters(document_ids=parsed, metadata=given.get("metadata", {}), **lists)


class PassageOutput(serializers.Serializer[Any]):
    """A passage that answers. `score` is 0–1 and comparable within one answer only; a leg that missed it is null.

    `vector_rank` and `keyword_rank` are its places in each leg among what was found, from 1.
    """

    document_id = serializers.CharField()
    external_id = serializers.CharField(allow_blank=True)
    title = serializers.CharField()
    url = serializers.CharField(allow_blank=True)
    chunk_id = serializers.CharField()
    heading = serializers.CharField(allow_blank=True)
    position = serializers.IntegerField()
    page = serializers.IntegerField()
    text = serializers.CharField()
    score = serializers.FloatField()
    vector_score = serializers.FloatField(allow_null=True)
    keyword_score = serializers.FloatField(allow_null=True)
    vector_rank = serializers.IntegerField(allow_null=True)
    keyword_rank = serializers.IntegerField(allow_null=True)


class SearchOutput(serializers.Serializer[Any]):
    """The best passages, best first, and how long it took in milliseconds."""

    results = PassageOutput(many=True)
    took_ms = serializers.FloatField()


class DocumentPassageOutput(serializers.Serializer[Any]):
    """A passage as it stands in its document; `page` is 0 where the format has none."""

    chunk_id = serializers.CharField()
    text = serializers.CharField()
    heading = serializers.CharField(allow_blank=True)
    position = serializers.IntegerField()
    page = serializers.IntegerField()


class PassagesOutput(serializers.Serializer[Any]):
    """A document and a stretch of its passages."""

    document = DocumentOutput()
    passages = DocumentPassageOutput(many=True)
