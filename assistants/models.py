"""Rows of assistants.

An `Assistant` is there, or deleted: then it is hidden from everything, can be restored for thirty days, and its slug is
free. A `Conversation` belongs to one person or key of a tenant. A
`Message` of the user is `completed` from the start; one of the assistant is `running` while its Run goes on, then
`completed`, `stopped` or `failed` for good.
"""

from typing import ClassVar

from django.db import models

from assistants.types import AUTO_MODEL, DEFAULT_THRESHOLD, MessageRole, MessageState
from substrate.models import TenantOwned


class Assistant(TenantOwned):
    """Instructions, a model and knowledge bases under a name that callers use as `assistant/<slug>`."""

    slug = models.SlugField(max_length=64)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    instructions = models.TextField(blank=True)
    model = models.CharField(max_length=256, default=AUTO_MODEL)
    # Ids as text; each was checked against the tenant's knowledge bases when it was written, and is again when used.
    knowledge_base_ids = models.JSONField(default=list)
    suggestions = models.JSONField(default=list)
    deleted_at = models.DateTimeField(null=True, blank=True)
    # For how long an answer may be given again to a question like its own (0: never), how alike two must be, and how
    # often what was kept has been thrown away.
    semantic_cache_seconds = models.PositiveIntegerField(default=0, db_default=0)
    semantic_cache_threshold = models.FloatField(default=DEFAULT_THRESHOLD, db_default=DEFAULT_THRESHOLD)
    semantic_cache_epoch = models.PositiveIntegerField(default=0, db_default=0)

    class Meta(TenantOwned.Meta):
        """A slug names one assistant of a tenant; of those that are deleted, it may have named several."""

        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "slug"],
                condition=models.Q(deleted_at=None),
                name="assistant_slug_while_there",
            ),
        ]

    def __str__(self) -> str:
        """Its slug."""
        return self.slug


class Conversation(TenantOwned):
    """Messages of one owner: `user:<id>`, or `key:<id>` for a key that belongs to no user."""

    owner = models.CharField(max_length=48)
    title = models.CharField(max_length=200, blank=True)
    assistant = models.CharField(max_length=64, blank=True)

    class Meta(TenantOwned.Meta):
        """Listed by owner, the one last written in first."""

        indexes: ClassVar = [
            models.Index(fields=["tenant", "owner", "-updated_at", "-id"], name="conversation_by_owner"),
        ]

    def __str__(self) -> str:
        """Its id: a title is content."""
        return str(self.id)


class Message(TenantOwned):
    """One message. `position` counts from 1 within the conversation; `request_id` makes a Run happen once."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    owner = models.CharField(max_length=48)
    position = models.PositiveIntegerField()
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in MessageRole])
    content = models.TextField(blank=True)
    state = models.CharField(max_length=16, choices=[(state.value, state.value) for state in MessageState])
    citations = models.JSONField(default=list)
    model = models.CharField(max_length=256, blank=True)
    usage = models.JSONField(default=dict)
    finish_reason = models.CharField(max_length=32, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    request_id = models.CharField(max_length=128, blank=True)

    class Meta(TenantOwned.Meta):
        """In order within the conversation; one Run for each request id of an owner."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "conversation", "position"], name="message_position"),
            models.UniqueConstraint(
                fields=["tenant", "owner", "request_id"],
                condition=~models.Q(request_id=""),
                name="message_once_per_request",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "created_at"], name="message_by_tenant"),
            # The sweep looks for Runs across tenants; there are few at any time.
            models.Index(fields=["state"], condition=models.Q(state="running"), name="message_running"),
        ]

    def __str__(self) -> str:
        """Its id: the text is content."""
        return str(self.id)
