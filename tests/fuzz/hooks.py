"""What schemathesis does not know by itself: how a body of one JSON object a line is written."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def write_lines(context: Any, value: Any) -> bytes:
    """Each entry of a list on a line of its own; anything else as one line."""
    rows = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(row, default=str).encode() + b"\n" for row in rows)
