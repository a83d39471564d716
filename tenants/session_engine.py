"""Django's session engine over our own rows (`SESSION_ENGINE`): who, where from, last seen stand beside the content."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.utils import timezone

from kernel.ids import parse_uuid
from substrate.patience import giving_way
from tenants.session_models import DEVICE_LENGTH, Session

# Where a session keeps the membership it is bound to, and what it was opened with.
SESSION_MEMBERSHIP = "atrium_membership"
# The one tenant whose word the session was opened on: it opens no other.
SESSION_ONLY_TENANT = "atrium_only_tenant"
# The identity provider that opened the session: how its user is known is that one's business.
SESSION_PROVIDER = "atrium_provider"
SESSION_ADDRESS = "atrium_address"
SESSION_DEVICE = "atrium_device"
# `last_seen_at` is written at most this often.
SEEN_EVERY = timedelta(seconds=60)


class SessionStore(DatabaseSessions):
    """Sessions in `tenants.Session`."""

    @classmethod
    def get_model_class(cls) -> Any:
        """Our rows."""
        return Session

    def create_model_instance(self, data: Mapping[str, Any]) -> Any:
        """The row, with what the content says of its owner beside it."""
        row: Any = super().create_model_instance(dict(data))
        row.user_id = parse_uuid(str(data.get(SESSION_KEY, "")))
        row.membership_id = parse_uuid(str(data.get(SESSION_MEMBERSHIP, "")))
        row.address = data.get(SESSION_ADDRESS) or None
        row.device = str(data.get(SESSION_DEVICE, ""))[:DEVICE_LENGTH]
        return row

    def _get_session_from_db(self) -> Session | None:
        """The row; that it was seen is noted once a minute."""
        row: Session | None = super()._get_session_from_db()  # type: ignore[misc]
        now = timezone.now()
        if row is not None and now - row.last_seen_at >= SEEN_EVERY:
            with giving_way():
                Session.objects.filter(pk=row.pk).update(last_seen_at=now)
        return row
