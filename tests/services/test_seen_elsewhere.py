"""The control plane makes no calls: what it says of engines, the gateways have told it."""

import time

import pytest
from fakes.stack import Member

pytestmark = pytest.mark.services

# Two looks at the board, and a busy machine.
HEARD_WITHIN_S = 30.0


def test_the_control_plane_explains_by_what_gateways_have_learned(member: Member) -> None:
    # Of a prompt so long the gateway learns how fast the engine reads.
    said = member.openai().chat.completions.create(
        model="tiny-0",
        messages=[{"role": "user", "content": f"{member.slug} " + "read all of this " * 200}],
        max_tokens=2,
        stream=True,
    )
    assert len(list(said)) > 1
    asked = {"model": "tiny-0", "messages": [{"role": "user", "content": "hello"}]}
    deadline = time.monotonic() + HEARD_WITHIN_S
    while time.monotonic() < deadline:
        (candidate,) = member.rest("POST", "/routing/explain", json=asked)["candidates"]
        (replica,) = candidate["replicas"]
        if replica["speed_learned"]:
            assert replica["terms"]["prefill_tps"] > 0
            return
        time.sleep(0.5)
    raise AssertionError("the control plane heard of no speed")
