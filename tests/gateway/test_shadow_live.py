"""A call that is copied, from outside: the official client sees one answer, the ledger two calls, REST one comparison."""

import sqlite3
import time
from typing import Any

from fakes.engine_server import Behaviour
from fakes.installation import Installation

MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]
# A policy is in force everywhere within this time.
EFFECT_S = 2.5
WITHIN_S = 20.0
SLOW_S = 2.0


def ledger(live: Installation) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(f"file:{live.server.home / 'atrium.sqlite3'}?mode=ro", uri=True)
    found = database.execute(
        "SELECT model, state, user_id, api_key_id FROM tenants_usagerecord WHERE origin = 'shadow'"
    ).fetchall()
    database.close()
    return found


def compared(live: Installation) -> list[dict[str, Any]]:
    """The comparisons, once there is one (the spool is drained in the background)."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        status, found = live.server.request("GET", "/api/v1/routing/shadows?range=1h", key=live.key)
        assert status == 200, found
        if any(each["compared"] for each in found["results"]):
            break
        time.sleep(0.2)
    results: list[dict[str, Any]] = found["results"]
    return results


def test_a_call_is_answered_once_and_copied_beside(live: Installation) -> None:
    shadows = [{"model": "org/tiny", "to": "narrow", "percent": 100}]
    status, answer = live.server.request(
        "PUT", "/api/v1/routing/policy", key=live.key, body={"shadows": shadows}
    )
    assert status == 200, answer
    time.sleep(EFFECT_S)
    # The copy is slow and says something else: who asked sees nothing of it.
    live.engine.script(Behaviour(), Behaviour(text="word0 word1 and more", first_byte_s=SLOW_S))
    try:
        began = time.monotonic()
        raw = live.client().chat.completions.with_raw_response.create(model="org/tiny", messages=MESSAGES)
        assert time.monotonic() - began < SLOW_S
        assert raw.parse().choices[0].message.content == "".join(f"word{number} " for number in range(8))
        (both,) = compared(live)
    finally:
        live.server.request("PUT", "/api/v1/routing/policy", key=live.key, body={})
    assert (both["model"], both["shadow"], both["percent"]) == ("org/tiny", "narrow", 100)
    assert (both["compared"], both["failed"], both["dropped"]) == (1, 0, 0)
    # Two words of eight and four are the same.
    assert abs(both["agreement"]["value"] - 2 * 2 / 12) < 1e-9
    assert both["copied"]["total_ms"]["p50"] >= SLOW_S * 1000
    assert len(live.usage_of(raw.headers["x-request-id"])) == 1
    assert ledger(live) == [("narrow", "completed", None, None)]
