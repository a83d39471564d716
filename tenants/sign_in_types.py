"""What crosses doors about signing in: sessions."""

import uuid
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SessionView:
    """A browser's session as people see it. `current` is the one that asks; `device` is read from `user_agent`."""

    id: uuid.UUID
    current: bool
    tenant_slug: str
    tenant_name: str
    device: str
    user_agent: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
