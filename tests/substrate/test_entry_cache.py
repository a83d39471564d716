"""EntryCache: one load for all who wait, nothing stale kept, bounded, absent entries known too."""

import asyncio
from collections.abc import Sequence

import pytest
from fakes.clocks import FrozenClock
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import Unavailable
from substrate.entries import EntryCache


class Source:
    """What the entries are loaded from; a load may be held at either end. A key in `broken` cannot be read."""

    def __init__(self, **rows: int) -> None:
        self.rows = rows
        self.loads: list[str] = []
        self.gate: asyncio.Event | None = None
        self.fails = False
        self.broken: set[str] = set()

    async def load(self, keys: Sequence[str]) -> dict[str, int]:
        self.loads.append("".join(keys))
        found = {key: self.rows[key] for key in keys if key in self.rows}
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise Unavailable("away")
        if self.broken.intersection(keys):
            raise ValueError("not readable")
        return found


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_value_that_comes_or_goes_is_told() -> None:
    source, clock = Source(a=1, b=2, c=3), FrozenClock()
    heard: list[tuple[str, int | None, int | None]] = []
    cache: EntryCache[str, int] = EntryCache(
        source.load, size=2, keep_s=60, swapped=lambda *told: heard.append(told), clock=clock
    )

    def told() -> list[tuple[str, int | None, int | None]]:
        last = list(heard)
        heard.clear()
        return last

    await cache.get("a")
    assert told() == [("a", None, 1)]
    cache.forget("a")
    cache.forget("a")
    assert told() == [("a", 1, None)]
    assert [await cache.get("b"), await cache.get("b")] == [2, 2]
    assert told() == [("b", None, 2)]
    clock.advance(61)
    source.rows["b"] = 20
    assert await cache.get("b") == 20
    assert told() == [("b", 2, 20)]
    await cache.get("c")
    heard.clear()
    await cache.get("d")
    assert told() == [("d", None, None), ("b", 20, None)]
    cache.clear()
    assert sorted(told()) == [("c", 3, None), ("d", None, None)]


async def test_a_load_that_its_change_overtook_is_told_to_nobody() -> None:
    source, heard = Source(a=1), []
    cache: EntryCache[str, int] = EntryCache(source.load, swapped=lambda *told: heard.append(told))
    source.gate = asyncio.Event()
    waiting = asyncio.ensure_future(cache.get("a"))
    await turn()
    cache.forget("a")
    source.gate.set()
    assert (await waiting, heard) == (1, [])


async def test_an_entry_is_loaded_once_and_then_known() -> None:
    source = Source(a=1)
    cache = EntryCache(source.load)
    assert cache.peek("a") == (False, None)
    assert [await cache.get("a"), await cache.get("a")] == [1, 1]
    assert cache.peek("a") == (True, 1)
    assert source.loads == ["a"]


async def test_what_is_not_there_is_known_too() -> None:
    source = Source()
    cache = EntryCache(source.load)
    assert [await cache.get("x"), await cache.get("x")] == [None, None]
    assert cache.peek("x") == (True, None)
    assert source.loads == ["x"]


async def test_those_who_come_together_share_one_load() -> None:
    source = Source(a=1)
    source.gate = asyncio.Event()
    cache = EntryCache(source.load)
    waiting = [asyncio.ensure_future(cache.get("a")) for _ in range(50)]
    await turn()
    source.gate.set()
    assert await asyncio.gather(*waiting) == [1] * 50
    assert source.loads == ["a"]


async def test_a_load_that_was_overtaken_by_a_change_is_not_kept() -> None:
    source = Source(a=1)
    source.gate = asyncio.Event()
    cache = EntryCache(source.load)
    early = asyncio.ensure_future(cache.get("a"))
    await turn()
    source.rows["a"] = 2
    cache.forget("a")
    late = asyncio.ensure_future(cache.get("a"))
    await turn()
    source.gate.set()
    assert (await early, await late) == (1, 2)
    assert cache.peek("a") == (True, 2)
    assert source.loads == ["a", "a"]


async def test_the_old_load_may_end_last_and_still_loses() -> None:
    source = Source(a=1)
    slow = source.gate = asyncio.Event()
    cache = EntryCache(source.load)
    early = asyncio.ensure_future(cache.get("a"))
    await turn()
    source.rows["a"] = 2
    cache.forget("a")
    source.gate = None
    assert await cache.get("a") == 2
    slow.set()
    assert await early == 1
    assert cache.peek("a") == (True, 2)


async def test_clearing_drops_loads_under_way_as_well() -> None:
    source = Source(a=1)
    source.gate = asyncio.Event()
    cache = EntryCache(source.load)
    early = asyncio.ensure_future(cache.get("a"))
    await turn()
    cache.clear()
    source.gate.set()
    await early
    assert cache.peek("a") == (False, None)


async def test_one_who_leaves_does_not_take_the_load_along() -> None:
    source = Source(a=1)
    source.gate = asyncio.Event()
    cache = EntryCache(source.load)
    leaver, stayer = (asyncio.ensure_future(cache.get("a")) for _ in range(2))
    await turn()
    leaver.cancel()
    source.gate.set()
    assert await stayer == 1
    assert source.loads == ["a"]


async def test_a_failed_load_reaches_all_and_is_tried_again() -> None:
    source = Source(a=1)
    source.fails = True
    cache = EntryCache(source.load)
    failed = await asyncio.gather(*(cache.get("a") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in failed] == [Unavailable] * 3
    source.fails = False
    assert await cache.get("a") == 1


async def test_a_failed_load_that_nobody_waits_for_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    source.gate, source.fails = asyncio.Event(), True
    cache = EntryCache(source.load)
    leaver = asyncio.ensure_future(cache.get("a"))
    await turn()
    leaver.cancel()
    source.gate.set()
    await turn()
    assert "never retrieved" not in caplog.text


async def test_entries_age() -> None:
    source, clock = Source(a=1), FrozenClock()
    cache = EntryCache(source.load, keep_s=60, clock=clock)
    await cache.get("a")
    clock.advance(59)
    await cache.get("a")
    clock.advance(2)
    assert cache.peek("a") == (False, None)
    await cache.get("a")
    assert source.loads == ["a", "a"]


async def test_the_least_used_leave_first() -> None:
    source = Source(a=1, b=2, c=3)
    cache = EntryCache(source.load, size=2)
    for key in ("a", "b", "a", "c"):
        await cache.get(key)
    assert [cache.peek(key)[0] for key in "abc"] == [True, False, True]


async def test_those_who_miss_in_one_turn_share_a_load() -> None:
    source = Source(a=1, b=2, c=3)
    cache = EntryCache(source.load)
    assert await asyncio.gather(*map(cache.get, "abcx")) == [1, 2, 3, None]
    assert source.loads == ["abcx"]


async def test_one_load_is_bounded() -> None:
    source = Source(a=1, b=2, c=3)
    cache = EntryCache(source.load, at_once=2)
    assert await asyncio.gather(*map(cache.get, "abc")) == [1, 2, 3]
    assert source.loads == ["ab", "c"]


async def test_what_changed_is_loaded_with_the_next_that_is_missed() -> None:
    source = Source(a=1, b=2, c=3, d=4)
    cache = EntryCache(source.load)
    await asyncio.gather(*map(cache.get, "abcd"))
    for key in "abc":
        cache.peek(key)
        source.rows[key] += 10
        cache.forget(key)
    cache.forget("d")  # nobody used it since it was loaded: nobody may ask again
    assert await cache.get("b") == 12
    assert [cache.peek(key) for key in "abcd"] == [(True, 11), (True, 12), (True, 13), (False, None)]
    assert source.loads == ["abcd", "bac"]


async def test_what_is_used_and_ages_soon_is_loaded_with_the_next_that_is_missed() -> None:
    source, clock = Source(a=1, b=2, c=3), FrozenClock()
    cache = EntryCache(source.load, keep_s=100, clock=clock)
    await asyncio.gather(*map(cache.get, "ab"))
    cache.peek("a")
    clock.advance(81)
    source.rows["a"] = 10
    await cache.get("c")
    assert source.loads == ["ab", "ca"]
    clock.advance(30)
    assert cache.peek("a") == (True, 10)
    assert cache.peek("b") == (False, None)


async def test_an_entry_that_comes_along_is_served_until_its_load_has_ended() -> None:
    source, clock = Source(a=1, b=2), FrozenClock()
    cache = EntryCache(source.load, keep_s=100, clock=clock)
    await cache.get("a")
    cache.peek("a")
    clock.advance(90)
    source.gate = asyncio.Event()
    missed = asyncio.ensure_future(cache.get("b"))
    await turn()
    assert cache.peek("a") == (True, 1)
    clock.advance(20)
    joined = asyncio.ensure_future(cache.get("a"))
    await turn()
    source.gate.set()
    assert (await missed, await joined) == (2, 1)
    assert source.loads == ["a", "ba"]


async def test_one_that_cannot_be_read_keeps_no_other_from_theirs() -> None:
    source = Source(a=1, b=2)
    source.broken = {"b"}
    cache = EntryCache(source.load)
    first, second = await asyncio.gather(cache.get("a"), cache.get("b"), return_exceptions=True)
    assert first == 1
    assert isinstance(second, ValueError)
    assert cache.peek("b") == (False, None)


async def test_a_database_that_is_away_is_not_asked_for_each() -> None:
    source = Source(a=1, b=2)
    source.fails = True
    cache = EntryCache(source.load)
    await asyncio.gather(cache.get("a"), cache.get("b"), return_exceptions=True)
    assert source.loads == ["ab"]


async def test_asked_for_before_a_change_and_loaded_after_it_is_kept() -> None:
    source = Source(a=1)
    cache = EntryCache(source.load)
    asked = asyncio.ensure_future(cache.get("a"))
    await asyncio.sleep(0)
    cache.forget("a")
    source.rows["a"] = 2
    assert await asked == 2
    assert cache.peek("a") == (True, 2)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.sampled_from("ab")),
        st.tuples(st.just("edit"), st.sampled_from("ab")),
        st.tuples(st.just("let"), st.integers(0, 3)),
    ),
    max_size=30,
)


class Interleaved:
    """Gets and edits in any order, each load ended at a moment of the test's choice."""

    def __init__(self) -> None:
        self.versions = {"a": 0, "b": 0}
        self.held: list[asyncio.Event] = []
        self.cache: EntryCache[str, int] = EntryCache(self.load)
        self.gets: list[tuple[int, asyncio.Future[int | None]]] = []

    async def load(self, keys: Sequence[str]) -> dict[str, int]:
        found = {key: self.versions[key] for key in keys}
        gate = asyncio.Event()
        self.held.append(gate)
        await gate.wait()
        return found

    async def play(self, steps: list[tuple[str, str | int]]) -> None:
        for act, what in steps:
            if act == "get":
                self.gets.append((self.versions[str(what)], asyncio.ensure_future(self.cache.get(str(what)))))
            elif act == "edit":
                self.versions[str(what)] += 1
                self.cache.forget(str(what))
            elif self.held:
                self.held.pop(int(what) % len(self.held)).set()
            await turn()
            for key, version in self.versions.items():
                known, value = self.cache.peek(key)
                assert not known or value == version, "a stale entry was kept"
        while self.held:
            self.held.pop().set()
            await turn()


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_no_order_of_loads_and_edits_leaves_a_stale_entry(steps: list[tuple[str, str | int]]) -> None:
    async def run() -> None:
        world = Interleaved()
        await world.play(steps)
        for version_at_call, result in world.gets:
            got = await result
            assert got is not None
            assert got >= version_at_call, "a caller saw a version from before its call"

    asyncio.run(run())
