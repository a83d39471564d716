"""What logs never show, and what every line says."""

import json
import logging
import logging.config
from typing import Any

import pytest
import structlog

from config.logs import add_request, drop_secrets
from config.settings.observability import logging_settings
from kernel.context import RequestContext, request_context

KEY = "atr_Ab12Cd34_0123456789abcdefghijABCDEFGHIJ"


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        (f"key {KEY} refused", "key atr_Ab12Cd34_… refused"),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer …"),
        ("authorization: bearer sk-other-secret, next", "authorization: bearer …, next"),
        (
            f"sec-websocket-protocol: atrium.v1, atrium.bearer.{KEY}",
            "sec-websocket-protocol: atrium.v1, atrium.bearer.…",
        ),
        (
            "connect to postgres://atrium:hush@db:5432/x failed",
            "connect to postgres://atrium:…@db:5432/x failed",
        ),
        ("connect to redis://:hush@cache/0 failed", "connect to redis://:…@cache/0 failed"),
        ("GET http://127.0.0.1:8000/v1/models", "GET http://127.0.0.1:8000/v1/models"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_secrets_are_cut_to_what_identifies_them(said: str, logged: str) -> None:
    assert drop_secrets(None, "info", {"event": said}) == {"event": logged}


def test_secrets_are_found_inside_of_values() -> None:
    event: dict[str, Any] = {
        "headers": {"authorization": f"Bearer {KEY}"},
        "args": [KEY, 7],
        "pair": (KEY, None),
    }
    assert drop_secrets(None, "info", event) == {
        "headers": {"authorization": "Bearer …"},
        "args": ["atr_Ab12Cd34_…", 7],
        "pair": ("atr_Ab12Cd34_…", None),
    }


def test_the_request_at_hand_is_in_the_line() -> None:
    with request_context(RequestContext("request-1", "t" * 32)):
        assert add_request(None, "info", {"event": "x"}) == {
            "event": "x",
            "request_id": "request-1",
            "trace_id": "t" * 32,
        }
    assert add_request(None, "info", {"event": "x"}) == {"event": "x"}


def formatted(record: logging.LogRecord) -> dict[str, Any]:
    config = logging_settings(debug=False)["formatters"]["json"]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=config["processors"], foreign_pre_chain=config["foreign_pre_chain"]
    )
    line: dict[str, Any] = json.loads(formatter.format(record))
    return line


def test_a_line_of_a_library_is_json_and_its_traceback_has_no_secrets() -> None:
    try:
        raise RuntimeError(f"refused {KEY}")
    except RuntimeError as error:
        caught = (type(error), error, error.__traceback__)
    record = logging.LogRecord("library", logging.ERROR, __file__, 1, "failed for %s", (KEY,), caught)
    line = formatted(record)
    assert line["event"] == "failed for atr_Ab12Cd34_…"
    assert (line["level"], line["logger"]) == ("error", "library")
    assert "RuntimeError: refused atr_Ab12Cd34_…" in line["exception"]
    assert line["timestamp"].endswith("Z")
