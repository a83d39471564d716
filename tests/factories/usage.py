"""Usage entries for tests."""

import uuid
from datetime import UTC, datetime
from typing import Any

from kernel.ids import uuid7
from tenants.types import UsageEntry, UsageState


def make_entry(tenant_id: uuid.UUID | None = None, **values: Any) -> UsageEntry:
    """A finished call with everything in it that a line may break on."""
    base: dict[str, Any] = {
        "record_id": uuid7(),
        "request_id": "req-1",
        "tenant_id": tenant_id or uuid7(),
        "user_id": None,
        "api_key_id": uuid7(),
        "model": "größer\nmodel",
        "pool": "p",
        "replica": "r",
        "origin": "api",
        "state": UsageState.CANCELLED,
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cost_nano": 12_345_678_901,
        "started_at": datetime(2026, 11, 24, 1, 2, 3, 456789, tzinfo=UTC),
        "error": "line\nbreak\x00",
        "estimated": True,
    }
    return UsageEntry(**(base | values))
