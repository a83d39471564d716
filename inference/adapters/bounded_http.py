"""One JSON request to an address that the operator's own configuration names: bounded in time and size, no redirects."""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from kernel.errors import Unavailable, UpstreamFailed

TIMEOUT_S = 10.0
MOST_BYTES = 4 * 1024 * 1024


def ask_json(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    context: ssl.SSLContext | None = None,
    timeout_s: float = TIMEOUT_S,
    most_bytes: int = MOST_BYTES,
) -> Any:
    """The JSON that answers; None for an empty answer. Blocks. Raises Unavailable, UpstreamFailed (any status but 2xx)."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path + (f"?{parts.query}" if parts.query else "")
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    )
    try:
        connection.request(method, path or "/", body, {"accept": "application/json", **headers})
        answer = connection.getresponse()
        raw = answer.read(most_bytes + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{parts.netloc} does not answer: {type(error).__name__}.") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise UpstreamFailed(f"{parts.netloc} answers {answer.status}.")
    if len(raw) > most_bytes:
        raise UpstreamFailed(f"{parts.netloc} answers with too much.")
    try:
        return json.loads(raw) if raw.strip() else None
    except ValueError as error:
        raise UpstreamFailed(f"{parts.netloc} answers with something that is not JSON.") from error
