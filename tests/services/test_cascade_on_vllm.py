"""A cascade over two real vLLM: that the probabilities they tell are read, and nothing of them is shown."""

import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from fakes.engines import RememberingSpool, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.types import ReplicaSpec, Surface, Tier
from kernel.backends import backends
from kernel.hops import Trail, on_trail
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.choice_types import Cascade, Policy, TenantPolicy
from routing.services import dispatch
from routing.types import ModelCall
from tenants.types import Principal, Role, UsageState

URLS = [url for url in os.environ.get("ATRIUM_TEST_VLLM_URLS", "").split(",") if url]
MODEL = os.environ.get("ATRIUM_TEST_VLLM_MODEL", "tiny")
WHO = Principal(uuid.UUID(int=7), "acme", Role.MEMBER)

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(len(URLS) < 2, reason="ATRIUM_TEST_VLLM_URLS names no two engines"),
]


class Said:
    """A cascade with this threshold."""

    def __init__(self, below: int) -> None:
        self.policy = TenantPolicy(Policy(cascade=Cascade(tokens=8, below_percent=below)), "UTC")

    def has(self, tenant_id: uuid.UUID) -> bool:
        return True

    async def find(self, tenant_id: uuid.UUID) -> TenantPolicy:
        return self.policy


def replica(model: str, url: str) -> ReplicaSpec:
    return replica_spec(model, model=model, pool=model, engine="openai", url=url, served_name=MODEL)


@pytest.fixture
async def spool() -> AsyncIterator[RememberingSpool]:
    made, directory = RememberingSpool(), ModelDirectory()
    backends.replace("usage_spool", made)
    backends.replace("scheduler", MemoryScheduler(queue_limit=5))
    backends.replace("model_directory", directory)
    light, heavy = URLS[:2]
    directory.show(
        (
            model_spec("light", replica("light", light)),
            model_spec("heavy", replica("heavy", heavy), tier=Tier.HEAVY),
        )
    )
    yield made
    await backends.close()


def call(surface: Surface, *, stream: bool) -> ModelCall:
    text = "Tell me of the sea."
    prompt: dict[str, Any] = {"prompt": text}
    if surface is Surface.CHAT:
        prompt = {"messages": [{"role": "user", "content": text}]}
    return ModelCall(
        principal=WHO,
        surface=surface,
        model="auto",
        body={**prompt, "temperature": 0, "ignore_eos": True, "max_tokens": 24},
        prompt_chars=len(text),
        request_id=uuid.uuid4().hex,
        origin="v1",
        stream=stream,
        max_tokens=24,
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("surface", [Surface.CHAT, Surface.COMPLETIONS])
# Random weights are sure of nothing: below 99 % always, below 1 % of some answers.
@pytest.mark.parametrize("below", [99, 1])
async def test_the_engine_tells_how_sure_it_is(
    spool: RememberingSpool, surface: Surface, stream: bool, below: int
) -> None:
    backends.replace("choice_directory", Said(below))
    trail = Trail("v1", "request-1", "0" * 32)
    with on_trail(trail):
        async with dispatch(call(surface, stream=stream)) as flow:
            if stream:
                chunks = [chunk async for chunk in flow.chunks()]
                events = [orjson.loads(frame) for chunk in chunks for frame in chunk.frames]
            else:
                events = [orjson.loads((await flow.completion()).body)]
    (told,) = [hop[3] for hop in trail.hops if hop[0] == "cascade"]
    confidence = float(told["confidence"])
    assert 0 < confidence < 0.99
    escalated = confidence < below / 100
    assert told["outcome"] == ("escalated" if escalated else "kept")
    assert flow.decision.model == ("heavy" if escalated else "light")
    assert all(choice.get("logprobs") is None for event in events for choice in event["choices"])
    last = spool.entries[-1]
    assert (last.state, last.completion_tokens) == (UsageState.COMPLETED, 24)
    if escalated:
        light = spool.entries[0]
        assert (light.model, light.state, light.error) == ("light", UsageState.CANCELLED, "escalated")
        assert 8 <= light.completion_tokens <= 24
