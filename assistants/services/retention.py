"""Conversations past their time: counted and deleted for the tenant's retention rules."""

from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from assistants.models import Conversation, Message
from assistants.types import MessageState
from tenants.types import Expiring


class KeptConversations:
    """`tenants.ports.Retainable`: a conversation is as old as what was last written in it."""

    def count_older(self, before: datetime | None) -> Expiring:
        """As the port says."""
        older = _older(before) if before else Conversation.objects.none()
        oldest = older.order_by("updated_at").values_list("updated_at", flat=True)[:1]
        return Expiring(
            "conversations", older.count(), Conversation.objects.count(), next(iter(oldest), None)
        )

    def delete_older(self, before: datetime, limit: int) -> int:
        """As the port says; with their messages. Usage records stay."""
        rows = _older(before).select_for_update(skip_locked=True)
        ids = list(rows.order_by("updated_at").values_list("id", flat=True)[:limit])
        Conversation.objects.filter(id__in=ids).delete()
        return len(ids)


def _older(before: datetime) -> QuerySet[Conversation]:
    """Not those whose answer is being written."""
    running = Message.objects.filter(conversation=OuterRef("pk"), state=MessageState.RUNNING)
    return Conversation.objects.filter(~Exists(running), updated_at__lt=before)
