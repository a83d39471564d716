"""The access log: one JSON line for each `/v1` request, written in batches so that it costs no write per request."""

import asyncio
import os
from datetime import UTC, datetime

import orjson

from gateway.exchange import Exchange

FLUSH_S = 0.1
FLUSH_LINES = 256


def _tenths(ms: float) -> float:
    """To one decimal. `round` would take ten times as long, for the exactness of ties."""
    return int(ms * 10 + 0.5) / 10


class AccessLog:
    """Lines for one event loop, on their way to a file descriptor (standard error, where the other logs go)."""

    def __init__(self, descriptor: int = 2) -> None:
        """Opens nothing; `descriptor` stays the caller's."""
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(self, exchange: Exchange, *, state: str) -> None:
        """Log the request. `state` is `completed`, `failed` or `cancelled`."""
        first = exchange.first_byte_at
        self._lines.append(
            orjson.dumps(
                {
                    "timestamp": datetime.now(UTC),
                    "level": "info",
                    "event": "request",
                    "request_id": exchange.request_id,
                    "trace_id": exchange.trace_id,
                    "method": exchange.method,
                    "path": exchange.path,
                    "status": exchange.status,
                    "state": state,
                    "error": exchange.error,
                    "tenant": exchange.tenant,
                    "key": exchange.key_prefix,
                    "model": exchange.model,
                    "assistant": exchange.assistant,
                    "replica": exchange.replica,
                    "stream": exchange.stream,
                    "queue_ms": _tenths(exchange.queue_ms),
                    "first_byte_ms": _tenths((first - exchange.arrived) * 1000) if first else None,
                    "total_ms": _tenths(exchange.elapsed_ms()),
                },
                option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z,
            )
        )
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what has gathered. A closed or full log costs lines, never requests."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        try:
            os.write(self._descriptor, b"".join(lines))
        except OSError:
            return
