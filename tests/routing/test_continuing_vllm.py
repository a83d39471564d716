"""Streams that are cut in front of a real vLLM and continued by another: what the fake engine only claims."""

import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from fakes.cutting_proxy import CuttingProxy
from fakes.engines import RememberingSpool, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.types import ReplicaSpec, Surface
from kernel.backends import backends
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.services import dispatch
from routing.types import ModelCall
from tenants.types import Principal, Role, UsageState

URLS = [url for url in os.environ.get("ATRIUM_TEST_VLLM_URLS", "").split(",") if url]
MODEL = os.environ.get("ATRIUM_TEST_VLLM_MODEL", "tiny")
TOKENS = 48

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(len(URLS) < 2, reason="ATRIUM_TEST_VLLM_URLS names no two engines"),
]


class House:
    """Two engines of one model, the first of them behind a proxy."""

    def __init__(self, proxy: CuttingProxy) -> None:
        self.proxy = proxy
        self.spool = RememberingSpool()
        self.directory = ModelDirectory()
        backends.replace("usage_spool", self.spool)
        backends.replace("scheduler", MemoryScheduler(queue_limit=5))
        backends.replace("model_directory", self.directory)

    def serve(self, *urls: str) -> None:
        """Have these engines, the first of them preferred: the others are said to be far."""
        self.directory.show((model_spec("org/public", *[self._replica(url) for url in urls]),))
        for url in urls[1:]:
            self.directory.vitals.of(url).note_distance(1.0)

    def _replica(self, url: str) -> ReplicaSpec:
        return replica_spec(url, model="org/public", engine="openai", url=url, served_name=MODEL)

    async def ask(self, text: str, surface: Surface = Surface.CHAT) -> tuple[str, list[dict[str, Any]]]:
        """The answer's text, and its events."""
        prompt: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        if surface is Surface.COMPLETIONS:
            prompt = {"prompt": text}
        call = ModelCall(
            principal=Principal(uuid.UUID(int=7), "acme", Role.MEMBER),
            surface=surface,
            model="org/public",
            body={**prompt, "temperature": 0, "ignore_eos": True, "max_tokens": TOKENS},
            prompt_chars=len(text),
            request_id=uuid.uuid4().hex,
            origin="v1",
            stream=True,
            max_tokens=TOKENS,
        )
        events = []
        async with dispatch(call) as flow:
            async for chunk in flow.chunks():
                events += [orjson.loads(frame) for frame in chunk.frames]
        choices = [event["choices"][0] for event in events]
        texts = [each["delta"].get("content") or "" if "delta" in each else each["text"] for each in choices]
        return "".join(texts), events


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with CuttingProxy(URLS[0]) as proxy:
        yield House(proxy)
        await backends.close()


@pytest.mark.parametrize("surface", [Surface.CHAT, Surface.COMPLETIONS])
async def test_a_cut_answer_is_the_uncut_one(house: House, surface: Surface) -> None:
    same = cuts = 0
    for number in range(8):
        text = f"Tell me of the number {number}, and of those that come after it."
        house.proxy.cut_after = None
        house.serve(house.proxy.url)
        whole, _ = await house.ask(text, surface)
        house.proxy.cut_after = 5 + 4 * number
        house.serve(house.proxy.url, URLS[1])
        cut = house.proxy.cut
        joined, events = await house.ask(text, surface)
        if house.proxy.cut == cut:
            # A busy engine says several tokens in one event, so that a late cut may come after the end.
            assert joined
            assert "continued" not in events[-1]
            continue
        cuts += 1
        assert events[-1]["continued"] == 1
        assert len({event["id"] for event in events}) == 1
        assert events[-1]["choices"][0]["finish_reason"] == "length"
        plain, mended = house.spool.entries[-2:]
        assert mended.state is UsageState.COMPLETED
        # Text that is read again may be other tokens than when it was said.
        billed = mended.prompt_tokens + mended.completion_tokens
        assert abs(billed - plain.prompt_tokens - plain.completion_tokens) <= TOKENS // 4
        assert joined.startswith(whole[: len(whole) // 12])
        same += joined == whole
    assert cuts >= 6, cuts
    # The words of random weights turn on how their text is cut into tokens.
    assert same >= 2, same
