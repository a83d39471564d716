"""Sessions of browsers: one row each, which is both what the cookie opens and what people see in their lists."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.utils import timezone

from kernel.ids import uuid7

DEVICE_LENGTH = 300
# What a later save of the session may change; who signed in when stays.
CHANGING = ("session_data", "expire_date", "user_id", "membership_id", "address", "device")


class SessionRows(BaseSessionManager["Session"]):
    """Django's manager of sessions."""


class Session(AbstractBaseSession):
    """A browser's session: anonymous, or of one user and then bound to one membership. It ends when its row goes.

    The key is the secret of the cookie and is shown to nobody: `public_id` names the session outside. The row is found
    by its key before any tenant is known, and operators have sessions without a membership, so it belongs to no
    tenant; administrators reach those of their own tenant's memberships alone.
    """

    public_id = models.UUIDField(unique=True, default=uuid7, editable=False)
    # Bare ids: a restored backup brings the people back, and sessions of those who are still there stay.
    user_id = models.UUIDField(null=True, db_index=True)
    membership_id = models.UUIDField(null=True, db_index=True)
    address = models.GenericIPAddressField(null=True)
    device = models.CharField(max_length=DEVICE_LENGTH, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[BaseSessionManager["Session"]] = SessionRows()

    class Meta:
        """Not Django's own table."""

        db_table = "tenants_session"
        verbose_name = "session"
        verbose_name_plural = "sessions"

    def __str__(self) -> str:
        """What may be shown of it."""
        return str(self.public_id)

    def save(
        self,
        *args: Any,
        force_update: bool = False,
        update_fields: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write it; an update leaves what the row says of its beginning."""
        fields = CHANGING if force_update and update_fields is None else update_fields
        super().save(*args, force_update=force_update, update_fields=fields, **kwargs)
