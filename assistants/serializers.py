"""Shapes of the REST API of assistants: what comes in is strict, what goes out is documented."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from assistants.ownership import KEY, USER
from assistants.services.recalling import questions_by_meaning
from assistants.services.runs import CONTENT_LIMIT
from assistants.types import LEAST_THRESHOLD, LONGEST_KEPT_S, MessageRole, MessageState, MessageView
from substrate.rest import StrictSerializer
from substrate.versions import version_of
from substrate.wording import for_reader

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"
MODEL_LENGTH = 256
TEXT_LENGTH = 100_000


class AssistantChange(StrictSerializer):
    """What of an assistant may be changed."""

    name = serializers.CharField(max_length=200, required=False)
    description = serializers.CharField(max_length=2_000, required=False, allow_blank=True)
    instructions = serializers.CharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)
    model = serializers.CharField(max_length=MODEL_LENGTH, required=False)
    knowledge_base_ids = serializers.ListField(child=serializers.UUIDField(), max_length=20, required=False)
    suggestions = serializers.ListField(
        child=serializers.CharField(max_length=300), max_length=8, required=False
    )
    semantic_cache_seconds = serializers.IntegerField(
        min_value=0,
        max_value=LONGEST_KEPT_S,
        required=False,
        help_text="for how long an answer is given again to questions like its own; 0: never",
    )
    semantic_cache_threshold = serializers.FloatField(
        min_value=LEAST_THRESHOLD,
        max_value=1.0,
        required=False,
        help_text="how alike two questions must be, as the cosine of their vectors",
    )


class AssistantInput(AssistantChange):
    """A new assistant. Without a model the router chooses one."""

    slug = serializers.RegexField(SLUG_PATTERN, max_length=64)
    name = serializers.CharField(max_length=200)


class AssistantCopy(StrictSerializer):
    """How a copy is called; without a slug the first free one of `<slug>-copy`, `<slug>-copy-2` …"""

    slug = serializers.RegexField(SLUG_PATTERN, max_length=64, required=False)
    name = serializers.CharField(max_length=200, required=False)


class AssistantOutput(serializers.Serializer[Any]):
    """An assistant; callers of models name it `assistant/<slug>`. `version` goes back in `If-Match`."""

    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    instructions = serializers.CharField()
    model = serializers.CharField()
    knowledge_base_ids = serializers.ListField(child=serializers.CharField())
    suggestions = serializers.ListField(child=serializers.CharField())
    semantic_cache_seconds = serializers.IntegerField()
    semantic_cache_threshold = serializers.FloatField()
    semantic_cache_by_meaning = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)
    version = serializers.SerializerMethodField()

    def get_version(self, view: Any) -> str:
        """The version of its last change."""
        return version_of(view.updated_at)

    def get_semantic_cache_by_meaning(self, view: Any) -> bool:
        """Whether questions are compared by meaning here; else answers are given again to the same words alone."""
        return questions_by_meaning()


class ConversationInput(StrictSerializer):
    """A new conversation."""

    title = serializers.CharField(max_length=200, required=False, allow_blank=True)
    assistant = serializers.CharField(max_length=64, required=False, allow_blank=True)


class ConversationChange(StrictSerializer):
    """What of a conversation may be changed."""

    title = serializers.CharField(max_length=200)


class ConversationOutput(serializers.Serializer[Any]):
    """A conversation of the caller; `assistant` is null where a plain model answers."""

    id = serializers.CharField()
    title = serializers.CharField()
    assistant = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_assistant(self, view: Any) -> str | None:
        """Its slug."""
        return view.assistant or None


class OwnerOutput(serializers.Serializer[Any]):
    """Whose a conversation is: a user, or a key that belongs to nobody; `name` is empty once they have left."""

    kind = serializers.ChoiceField([USER, KEY])
    id = serializers.CharField()
    name = serializers.CharField()


class InspectedOutput(ConversationOutput):
    """Somebody's conversation, as an operator reads it by a break-glass grant."""

    owner = OwnerOutput()


class MessageInput(StrictSerializer):
    """A question. Without `assistant` and `model` the conversation's own assistant answers, else the router's choice."""

    content = serializers.CharField(max_length=CONTENT_LIMIT, trim_whitespace=False)
    assistant = serializers.CharField(max_length=64, required=False)
    model = serializers.CharField(max_length=MODEL_LENGTH, required=False)


class CitationOutput(serializers.Serializer[Any]):
    """A passage that the answer refers to as `[index]`."""

    index = serializers.IntegerField()
    document_id = serializers.CharField()
    knowledge_base_id = serializers.CharField()
    title = serializers.CharField()
    chunk_id = serializers.CharField()
    text = serializers.CharField()
    score = serializers.FloatField()
    url = serializers.CharField()


class UsageOutput(serializers.Serializer[Any]):
    """Tokens of an answer."""

    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()


class MessageErrorOutput(serializers.Serializer[Any]):
    """Why a message failed."""

    code = serializers.CharField()
    message = serializers.CharField()


class MessageOutput(serializers.Serializer[Any]):
    """A message of a conversation. A failed answer has its `error`, and what was said until then."""

    id = serializers.CharField()
    conversation_id = serializers.CharField()
    role = serializers.ChoiceField([each.value for each in MessageRole])
    content = serializers.CharField()
    state = serializers.ChoiceField([each.value for each in MessageState])
    citations = CitationOutput(many=True)
    model = serializers.SerializerMethodField()
    usage = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_model(self, view: MessageView) -> str | None:
        """The model that answered."""
        return view.model or None

    @extend_schema_field(UsageOutput(allow_null=True))
    def get_usage(self, view: MessageView) -> dict[str, Any] | None:
        """Its tokens, null when unknown."""
        return dict(view.usage) or None

    @extend_schema_field(MessageErrorOutput(allow_null=True))
    def get_error(self, view: MessageView) -> dict[str, str] | None:
        """Why it failed."""
        if view.state is not MessageState.FAILED:
            return None
        return {"code": view.error_code, "message": for_reader(view.error)}
