"""What is added to, and kept out of, every log line."""

import re
from collections.abc import MutableMapping
from typing import Any

from kernel.context import current_request

_KEY = re.compile(r"atr_([A-Za-z0-9]+)_[A-Za-z0-9]+")
_BEARER = re.compile(r"(?i)(bearer[ .]+)[^\s\"',]+")
_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")


def add_request(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request id and trace id of the request or job at hand."""
    request = current_request()
    if request is not None:
        event.setdefault("request_id", request.request_id)
        event.setdefault("trace_id", request.trace_id)
    return event


def drop_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """API keys, bearer tokens and passwords in URLs are cut to what identifies them, wherever they turn up."""
    for name, value in event.items():
        event[name] = _without_secrets(value)
    return event


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        if "atr_" in value or "earer" in value.lower():
            value = _BEARER.sub(r"\1…", _KEY.sub(r"atr_\1_…", value))
        return _PASSWORD.sub(r"\1…@", value) if "://" in value else value
    if isinstance(value, dict):
        return {name: _without_secrets(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        cleaned = [_without_secrets(each) for each in value]
        return cleaned if isinstance(value, list) else tuple(cleaned)
    return value
