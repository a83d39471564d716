"""Identifiers: UUIDv7 for rows, request ids, W3C trace ids."""

import os
import re
import time
import uuid
from datetime import datetime

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

PIECES = 64


class RandomPieces:
    """Random bytes in pieces of one size, read `PIECES` at a time, for each read is a system call. For ids, not secrets.

    A forked child reads its own: with its parent's it would repeat the ids of its siblings.
    """

    def __init__(self, size: int) -> None:
        """Pieces of `size` bytes."""
        self._size = size
        self._pieces: list[bytes] = []
        os.register_at_fork(after_in_child=self._pieces.clear)

    def take(self) -> bytes:
        """A piece that nobody was given before; any thread may ask."""
        while True:
            try:
                return self._pieces.pop()
            except IndexError:
                raw, size = os.urandom(PIECES * self._size), self._size
                self._pieces.extend([raw[at : at + size] for at in range(0, len(raw), size)])


_uuid_bits = RandomPieces(10)
_request_bits = RandomPieces(40)


def uuid7() -> uuid.UUID:
    """A time-ordered UUID, version 7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(_uuid_bits.take(), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)


def first_uuid7(moment: datetime) -> uuid.UUID:
    """The smallest UUIDv7 of a moment: ids made earlier are smaller."""
    return uuid.UUID(int=max(0, int(moment.timestamp() * 1000)) << 80 | 0x7 << 76 | 0b10 << 62)


def parse_uuid(text: str) -> uuid.UUID | None:
    """The UUID written in `text`, or None when it is not one."""
    try:
        return uuid.UUID(text)
    except (ValueError, AttributeError, TypeError):
        return None


def new_request_id() -> str:
    """An id for one request, unique and unguessable, 32 hex characters."""
    return os.urandom(16).hex()


def new_ids() -> tuple[str, str, str]:
    """A request id, a trace id and a span id, all new."""
    fresh = _request_bits.take().hex()
    return fresh[:32], fresh[32:64], fresh[64:]


def accept_request_id(offered: str | None) -> str:
    """The caller's own request id when it is well formed (8–128 of `A-Za-z0-9._-`), else a new one."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else new_request_id()


def parse_traceparent(header: str | None) -> str | None:
    """The trace id of a W3C `traceparent` header (version 00), or None when absent or malformed."""
    match = _TRACEPARENT.fullmatch(header) if header else None
    return match.group(1) if match and set(match.group(1)) != {"0"} else None


def new_trace_id() -> str:
    """A W3C trace id: 32 hex characters."""
    return os.urandom(16).hex()


def make_traceparent(trace_id: str) -> str:
    """A `traceparent` header that continues `trace_id` with a new span."""
    return f"00-{trace_id}-{os.urandom(8).hex()}-01"


def new_span_id() -> str:
    """A W3C span id: 16 hex characters."""
    return os.urandom(8).hex()


def another_span(traceparent: str) -> str:
    """`traceparent` with another span id; empty stays empty."""
    return f"{traceparent[:36]}{new_span_id()}{traceparent[52:]}" if traceparent else ""


def parse_parent_span(header: str | None) -> str:
    """The span id of a W3C `traceparent` header (version 00), empty when absent or malformed."""
    match = _TRACEPARENT.fullmatch(header) if header else None
    return match.group(2) if match and set(match.group(2)) != {"0"} else ""
