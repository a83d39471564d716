"""The back-office of assistants: what there is, for operators. Content is not shown, and nothing is edited here."""

from django.contrib import admin

from assistants.models import Assistant, Conversation, Message
from substrate.back_office import ReadOnlyAdmin


@admin.register(Assistant)
class AssistantAdmin(ReadOnlyAdmin):
    """Assistants, without their instructions."""

    list_display = (
        "slug",
        "tenant",
        "model",
        "updated_at",
    )
    list_filter = (
        "tenant",
        "model",
    )
    search_fields = ("slug",)
    list_select_related = ("tenant",)
    fields = (
        "id",
        "tenant",
        "slug",
        "model",
        "knowledge_base_ids",
        "created_at",
        "updated_at",
    )


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    """Conversations, without their titles."""

    list_display = (
        "id",
        "tenant",
        "assistant",
        "created_at",
        "updated_at",
    )
    list_filter = ("tenant",)
    search_fields = ("assistant",)
    list_select_related = ("tenant",)
    fields = (
        "id",
        "tenant",
        "owner",
        "assistant",
        "created_at",
        "updated_at",
    )


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    """Messages, without their text."""

    list_display = (
        "id",
        "tenant",
        "role",
        "state",
        "model",
        "error_code",
        "created_at",
    )
    list_filter = (
        "state",
        "role",
        "tenant",
    )
    search_fields = (
        "request_id",
        "model",
    )
    list_select_related = ("tenant",)
    fields = (
        "id",
        "tenant",
        "conversation",
        "role",
        "state",
        "model",
        "usage",
        "finish_reason",
        "error_code",
        "request_id",
        "created_at",
        "updated_at",
    )
