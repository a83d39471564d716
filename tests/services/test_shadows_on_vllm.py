"""Copies of answered calls to a second real vLLM, over the whole stack: the spool in Redis, the rows in PostgreSQL."""

import time
from typing import Any

import pytest
from fakes.stack import Member

pytestmark = pytest.mark.services

CALLS, TOKENS = 4, 12
# A policy is in force everywhere within this time; copies are made, spooled, drained and written after that.
EFFECT_S, WITHIN_S = 3.0, 90.0


def compared(member: Member, count: int) -> dict[str, Any]:
    """What is told of both models, once so many pairs are there."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        found = member.rest("GET", "/routing/shadows?range=1h")["results"]
        if found and found[0]["compared"] + found[0]["failed"] + found[0]["dropped"] >= count:
            return dict(found[0])
        time.sleep(0.5)
    raise AssertionError(f"not compared within {WITHIN_S} s: {found}")


def test_both_engines_are_told_side_by_side(member: Member, stranger: Member) -> None:
    shadows = [{"model": "tiny-0", "to": "tiny-1", "percent": 100}]
    member.rest("PUT", "/routing/policy", json={"shadows": shadows})
    time.sleep(EFFECT_S)
    client = member.openai()
    for number in range(CALLS):
        with client.chat.completions.create(
            model="tiny-0",
            messages=[{"role": "user", "content": f"Tell me of harbour {number}."}],
            max_tokens=TOKENS,
            temperature=0,
            extra_body={"ignore_eos": True},
            stream=True,
        ) as stream:
            assert [chunk.model for chunk in stream if chunk.model]
    both = compared(member, CALLS)
    assert (both["model"], both["shadow"], both["percent"]) == ("tiny-0", "tiny-1", 100)
    assert (both["compared"], both["failed"], both["dropped"], both["causes"]) == (CALLS, 0, 0, {})
    for side in (both["answered"], both["copied"]):
        assert side["completion_tokens"] == TOKENS
        assert side["prompt_tokens"] > 0
        assert side["total_ms"]["p50"] >= side["first_ms"]["p50"] > 0
        assert side["ends"] == {"length": CALLS}
    # Both engines hold the same weights and are asked without temperature: they say the same.
    assert both["same"]["value"] == both["agreement"]["value"] == 1.0
    assert both["total_ms"]["count"] == CALLS
    assert sum(step["compared"] for step in both["steps"]) == CALLS
    # Whoever asks is billed for both, and counted for one.
    assert stranger.rest("GET", "/routing/shadows?range=1h")["results"] == []
    usage = {row["group"]: row for row in member.rest("GET", "/usage?group_by=model")["results"]}
    assert usage["tiny-0"]["requests"] == CALLS
    assert usage["tiny-1"]["requests"] == 0
    assert usage["tiny-1"]["completion_tokens"] == CALLS * TOKENS
