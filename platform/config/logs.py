"""What is added to, and kept out of, every log line."""

import re
from collections.abc import MutableMapping
from typing import Any

from kernel.context import current_request

_KEY = re.compile(r"atr_([A-Za-z0-9]+)_[A-Za-z0-9]+")
_BEARER = re.compile(r"(?i)(bearer[ .]+)[^\s\"',]+")


def add_request(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request id and trace id of the request or job at hand."""
    request = current_request()
    if request is not None:
        event.setdefault("request_id", request.request_id)
        event.setdefault("trace_id", request.trace_id)
    return event


def drop_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """API keys and bearer tokens are cut to what identifies them, wherever they turn up."""
    for name, value in event.items():
        if isinstance(value, str) and ("atr_" in value or "earer" in value):
            event[name] = _BEARER.sub(r"\1…", _KEY.sub(r"atr_\1_…", value))
    return event
