"""Streams whose engine dies in the middle, over real sockets: continued elsewhere, joined right, billed once."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from fakes.engine_server import Behaviour, EngineServer
from fakes.engines import RememberingSpool, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.types import Surface
from kernel.backends import backends
from kernel.errors import UpstreamFailed
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.services import dispatch
from routing.types import ModelCall
from tenants.types import Principal, Role, UsageState

WORDS = 8
WHOLE = "".join(f"word{number} " for number in range(WORDS))


class Pair:
    """Two engines of one model."""

    def __init__(self, first: EngineServer, second: EngineServer) -> None:
        self.engines = first, second
        self.spool = RememberingSpool()
        self.scheduler = MemoryScheduler(queue_limit=5)
        self.events: list[dict[str, Any]] = []

    def script(self, *behaviours: Behaviour) -> None:
        """How the next calls go, whichever engine has them."""
        self.script_left = list(behaviours)
        for engine in self.engines:
            engine._script = _Shared(self.script_left)  # type: ignore[assignment]

    def call(self, surface: Surface = Surface.CHAT, *, region: str = "", **fields: Any) -> ModelCall:
        """A call of a member."""
        chat = surface is Surface.CHAT
        body: dict[str, Any] = (
            {"messages": [{"role": "user", "content": "hi"}]} if chat else {"prompt": "go: "}
        )
        return ModelCall(
            principal=Principal(uuid.UUID(int=7), "acme", Role.MEMBER, region=region),
            surface=surface,
            model="tiny",
            body=body | fields,
            prompt_chars=41,
            request_id="request-1",
            origin="v1",
            stream=True,
        )

    async def read(self, surface: Surface = Surface.CHAT, *, region: str = "", **fields: Any) -> str:
        """The text that a reader gets."""
        async with dispatch(self.call(surface, region=region, **fields)) as flow:
            async for chunk in flow.chunks():
                self.events += [orjson.loads(frame) for frame in chunk.frames]
        return self.text()

    def text(self) -> str:
        """What the events say together."""
        choices = [event["choices"][0] for event in self.events]
        return "".join(
            choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices
        )


class _Shared:
    """One script for both engines."""

    def __init__(self, left: list[Behaviour]) -> None:
        self._left = left

    def __bool__(self) -> bool:
        return bool(self._left)

    def popleft(self) -> Behaviour:
        return self._left.pop(0)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with EngineServer() as first, EngineServer() as second:
        made = Pair(first, second)
        backends.replace("usage_spool", made.spool)
        backends.replace("scheduler", made.scheduler)
        directory = ModelDirectory()
        backends.replace("model_directory", directory)
        replicas = [
            replica_spec(f"r{number}", engine="openai", url=engine.url, served_name="tiny")
            for number, engine in enumerate(made.engines)
        ]
        directory.show((model_spec("tiny", *replicas),))
        yield made
        await backends.close()


@pytest.mark.parametrize("after", [1, 2, 5, 7, 8])
@pytest.mark.parametrize("lead", ["keep", "omit"])
@pytest.mark.parametrize("surface", [Surface.CHAT, Surface.COMPLETIONS])
async def test_a_stream_is_continued_without_a_seam(
    pair: Pair, after: int, lead: str, surface: Surface
) -> None:
    pair.script(Behaviour(words=WORDS, die_after=after), Behaviour(words=WORDS, lead=lead))
    # The last word of the fake ends in a space, which is said when the answer is cut before it.
    assert (await pair.read(surface)).rstrip() == WHOLE.rstrip()
    last = pair.events[-1]
    assert last["continued"] == 1
    assert last["choices"][0]["finish_reason"] == "stop"
    assert len({event["id"] for event in pair.events}) == 1
    (entry,) = pair.spool.entries
    assert entry.state is UsageState.COMPLETED
    assert WORDS <= entry.completion_tokens <= WORDS + 1
    asked = [received.body for engine in pair.engines for received in engine.requests]
    assert len(asked) == 2
    snapshot = await pair.scheduler.snapshot("gpu")
    assert not snapshot.running


async def test_the_prompt_is_billed_once(pair: Pair) -> None:
    pair.script(Behaviour(words=WORDS))
    await pair.read()
    pair.script(Behaviour(words=WORDS, die_after=4), Behaviour(words=WORDS))
    await pair.read()
    whole, continued = pair.spool.entries
    # The fake counts a message's frame too: as many tokens as a real template's end of turn, give or take.
    assert whole.prompt_tokens <= continued.prompt_tokens < whole.prompt_tokens + 20
    assert continued.completion_tokens == whole.completion_tokens


async def test_who_leaves_is_billed_by_the_engines_count(pair: Pair) -> None:
    pair.script(Behaviour(endless=True, words_per_event=4, gap_s=0.005))
    call = pair.call()
    seen = 0
    async with dispatch(call) as flow:
        async for chunk in flow.chunks():
            seen += chunk.text.count("word")
            if seen >= 8:
                break
    (entry,) = pair.spool.entries
    assert (entry.state, entry.estimated) == (UsageState.CANCELLED, False)
    assert entry.completion_tokens == seen
    assert entry.prompt_tokens == len('[{"role": "user", "content": "hi"}]') // 4 + 1


async def test_the_rest_is_as_long_as_what_a_busy_engine_left(pair: Pair) -> None:
    pair.script(Behaviour(words=WORDS, words_per_event=3, die_after=2), Behaviour(words=WORDS))
    await pair.read(max_tokens=WORDS)
    first, second = sorted(
        (received.body["max_tokens"] for engine in pair.engines for received in engine.requests), reverse=True
    )
    assert (first, second) == (WORDS, WORDS - 6)
    (entry,) = pair.spool.entries
    assert entry.completion_tokens == WORDS


@pytest.mark.parametrize(
    "fields", [{"n": 2}, {"response_format": {"type": "json_object"}}, {"logprobs": True}]
)
async def test_what_cannot_be_continued_ends_with_an_error(pair: Pair, fields: dict[str, Any]) -> None:
    pair.script(Behaviour(words=WORDS, die_after=3), Behaviour(words=WORDS))
    with pytest.raises(UpstreamFailed):
        await pair.read(**fields)
    assert pair.text() == "word0 word1 word2 "
    assert [entry.state for entry in pair.spool.entries] == [UsageState.FAILED]
    assert sum(len(engine.requests) for engine in pair.engines) == 1


async def test_the_rest_stays_in_the_region_of_the_tenant(pair: Pair) -> None:
    directory: ModelDirectory = backends["model_directory"]
    replicas = [
        replica_spec(f"r{number}", engine="openai", url=engine.url, served_name="tiny", region=region)
        for number, (engine, region) in enumerate(zip(pair.engines, ("eu", "us"), strict=True))
    ]
    directory.show((model_spec("tiny", *replicas),))
    pair.script(Behaviour(words=WORDS, die_after=3), Behaviour(words=WORDS))
    with pytest.raises(UpstreamFailed):
        await pair.read(region="eu")
    assert [len(engine.requests) for engine in pair.engines] == [1, 0]


async def test_a_stream_that_dies_everywhere_ends_with_an_error(pair: Pair) -> None:
    pair.script(Behaviour(words=WORDS, die_after=3), Behaviour(words=WORDS, die_after=2))
    with pytest.raises(UpstreamFailed):
        await pair.read()
    assert pair.text() == "word0 word1 word2 word3 word4"
    (entry,) = pair.spool.entries
    assert (entry.state, entry.completion_tokens) == (UsageState.FAILED, 5)
    assert not (await pair.scheduler.snapshot("gpu")).running


async def test_an_answer_that_was_long_enough_needs_no_other_engine(pair: Pair) -> None:
    pair.script(Behaviour(words=WORDS, die_after=3))
    assert await pair.read(max_tokens=3) == "word0 word1 word2 "
    assert pair.events[-1]["choices"][0]["finish_reason"] == "length"
    (entry,) = pair.spool.entries
    assert (entry.state, entry.completion_tokens) == (UsageState.COMPLETED, 3)


async def test_an_end_that_only_lacked_its_last_line_is_an_end(pair: Pair) -> None:
    pair.script(Behaviour(words=2, die_after=3))
    assert await pair.read() == "word0 word1 "
    assert "continued" not in pair.events[-1]
    assert [entry.state for entry in pair.spool.entries] == [UsageState.COMPLETED]


async def test_leaving_while_it_is_continued_settles_as_cancelled(pair: Pair) -> None:
    pair.script(Behaviour(words=WORDS, die_after=3), Behaviour(words=WORDS, gap_s=0.2))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            await pair.read()
    assert [entry.state for entry in pair.spool.entries] == [UsageState.CANCELLED]
    assert not (await pair.scheduler.snapshot("gpu")).running
    for engine in pair.engines:
        await engine.until_idle()
