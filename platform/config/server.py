"""How uvicorn serves Atrium, alone or under gunicorn.

Measured reasons: compression per WebSocket message costs 38 KB a connection; without a limit on graceful shutdown one
stalled socket keeps a process alive for ever; frames beyond a megabyte are never meant.
"""

import os
from collections.abc import Mapping
from typing import Any

from uvicorn_worker import UvicornWorker


def drain_seconds(variables: Mapping[str, str]) -> int:
    """How long open answers may go on once the process is told to end. A wrong value is the settings' to refuse."""
    told = variables.get("ATRIUM_DRAIN", "").strip()
    return int(told) if told.isascii() and told.isdigit() and 1 <= int(told) <= 3600 else 5


SERVER_OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "http": "config.http:JoinedHttpProtocol",
    "ws": "websockets-sansio",
    "ws_per_message_deflate": False,
    "ws_max_size": 1024 * 1024,
    "ws_max_queue": 32,
    "lifespan": "on",
    # Read here: gunicorn's master knows this module and no settings.
    "timeout_graceful_shutdown": drain_seconds(os.environ),
    "timeout_keep_alive": 75,
    "limit_concurrency": 20_000,
    "backlog": 2048,
    "access_log": False,
    "server_header": False,
    # Applied in config.asgi to pages, REST and sockets alone: /v1 has no use for a client's address.
    "proxy_headers": False,
    "log_config": None,
}


class AtriumWorker(UvicornWorker):
    """Gunicorn's worker with the same options."""

    CONFIG_KWARGS = {**SERVER_OPTIONS}  # noqa: RUF012 - the base class has it so
