"""Writing many rows of the usage ledger at once, by one statement instead of an object for each row.

The drainer stands behind every model call: through the ORM a row costs 0.15 ms of processor time, as much as the call
itself, of which SQLite takes a tenth. Only for the drainer, inside its system scope.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from substrate.bulk import hex_of, write_rows
from tenants.models import UsageRecord
from tenants.rollups import Call, add_calls, hold_rollups
from tenants.types import UsageEntry

BIGGEST = 2**63 - 1

_COLUMNS = (
    "id", "created_at", "updated_at", "tenant_id", "record_id", "request_id", "user_id", "api_key_id", "model", "pool",
    "replica", "origin", "assistant", "state", "prompt_tokens", "completion_tokens", "cost_nano", "started_at",
    "queue_ms", "first_token_ms", "total_ms", "error", "estimated",
    "cached",
)  # fmt: skip


def book_usage(entries: Sequence[UsageEntry]) -> int:
    """Write entries into ledger and rollups, in the transaction at hand; returns how many were new.

    An entry that is there already (by `record_id`) stays as it is and is not summed again. Raises DataError or
    IntegrityError when the database refuses one of them; then none is written.
    """
    hold_rollups()
    new = insert_usage(entries)
    add_calls(new)
    return len(new)


def insert_usage(entries: Sequence[UsageEntry]) -> list[Call]:
    """Write entries into the ledger alone; returns those that were not there yet, as they were written."""
    now = datetime.now(UTC)
    rows = [_values(entry, now) for entry in entries]
    written = write_rows(UsageRecord, _COLUMNS, rows, then="ON CONFLICT DO NOTHING", returning="record_id")
    left = {hex_of(each) for each in written}
    calls = []
    for entry, row in zip(entries, rows, strict=True):
        # A batch may hold an entry twice; the first one was written.
        if entry.record_id.hex in left:
            left.discard(entry.record_id.hex)
            calls.append(_call(entry, row))
    return calls


def _values(entry: UsageEntry, now: datetime) -> tuple[Any, ...]:
    """In the order of `_COLUMNS`. The row's id is the entry's own, which is a UUIDv7 like every row's."""
    return (
        entry.record_id,
        now,
        now,
        entry.tenant_id,
        entry.record_id,
        clean_text(entry.request_id, 128),
        entry.user_id,
        entry.api_key_id,
        clean_text(entry.model, 255),
        clean_text(entry.pool, 255),
        clean_text(entry.replica, 255),
        clean_text(entry.origin, 64),
        clean_text(entry.assistant, 255),
        entry.state.value,
        clean_number(entry.prompt_tokens),
        clean_number(entry.completion_tokens),
        clean_number(entry.cost_nano),
        entry.started_at,
        clean_number(entry.queue_ms),
        clean_number(entry.first_token_ms),
        clean_number(entry.total_ms),
        clean_text(entry.error, 500),
        entry.estimated,
        entry.cached,
    )


def _call(entry: UsageEntry, row: tuple[Any, ...]) -> Call:
    model, origin, assistant = row[8], row[11], row[12]
    prompt_tokens, completion_tokens, cost_nano = row[14:17]
    return Call(
        entry.tenant_id,
        entry.started_at,
        model,
        entry.user_id,
        entry.api_key_id,
        assistant,
        origin,
        entry.state,
        prompt_tokens,
        completion_tokens,
        cost_nano,
        first_token_ms=row[19],
        total_ms=row[20],
    )


def clean_text(value: str, length: int) -> str:
    """`value` as every database takes it: without NUL, at most `length` characters."""
    return value.replace("\x00", "")[:length]


def clean_number(value: float) -> int:
    """`value` as a whole number from 0 to the biggest that a column holds."""
    return max(0, min(int(value), BIGGEST))
