"""Comparisons of answered calls with their copies, for tests."""

import uuid
from datetime import UTC, datetime
from typing import Any

from kernel.ids import uuid7
from tenants.types import PairEntry, PairSide, PairState

ANSWERED = PairSide(120, 900, 10, 30, 4_000, "stop")
COPIED = PairSide(80, 2_000, 11, 60, 9_000, "length")


def make_pair(tenant_id: uuid.UUID | None = None, **values: Any) -> PairEntry:
    """A streamed call of `small` that was compared with its copy to `large`."""
    base: dict[str, Any] = {
        "record_id": uuid7(),
        "tenant_id": tenant_id or uuid7(),
        "started_at": datetime(2026, 11, 24, 4, 0, tzinfo=UTC),
        "model": "small",
        "shadow": "large",
        "state": PairState.COMPARED,
        "stream": True,
        "answered": ANSWERED,
        "copied": COPIED,
        "agreement": 0.75,
        "same": False,
    }
    return PairEntry(**(base | values))
