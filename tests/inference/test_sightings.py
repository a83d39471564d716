"""What processes see of replicas: told, heard, put together. The board in process and over Redis."""

import os
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from fakes.clocks import FrozenClock
from fakes.engines import replica_spec

from inference.adapters.memory_sightings import MemorySightingBoard
from inference.adapters.redis_sightings import FORGOTTEN_S, HEARD_S, RedisSightingBoard
from inference.directory import ModelDirectory, Snapshot
from inference.services.telling import own_sighting, seen_health, seen_vitals, share_sightings
from inference.sightings import Sighting, Sightings, encode, percentile
from inference.types import ReplicaLoad
from inference.vitals import SEEN_S
from kernel.backends import backends
from kernel.errors import Unavailable

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")


@dataclass
class Board:
    """Remembers what it was told, and says `others`."""

    others: Sequence[bytes] = ()
    told: list[bytes] = field(default_factory=list)
    away: bool = False

    async def exchange(self, told: bytes) -> Sequence[bytes]:
        if self.away:
            raise Unavailable
        self.told.append(told)
        return self.others


@pytest.fixture
async def directory() -> AsyncIterator[ModelDirectory]:
    made = ModelDirectory(clock=FrozenClock())
    made.snapshot = Snapshot(replicas={name: replica_spec(name) for name in ("one", "two")})
    backends.replace("model_directory", made)
    yield made
    await backends.close()


def test_nearest_rank() -> None:
    assert percentile([], 0.5) is None
    assert percentile([7.0], 0.99) == 7.0
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50, 99, 100)


def test_what_cannot_be_read_says_nothing() -> None:
    heard = Sightings()
    heard.hear([b"rubbish", encode({"one": Sighting(100.0)}), b'{"one": ["fast"]}', b""])
    assert heard.of("one") == [Sighting(100.0)]
    assert heard.of("two") == []
    heard.hear([])
    assert heard.of("one") == []


def test_only_what_was_seen_is_told() -> None:
    assert encode({"one": Sighting(), "two": Sighting(left_alone="slow")}) == b""
    assert b"two" not in encode({"one": Sighting(firsts_ms=[1.0]), "two": Sighting()})


async def test_times_are_of_all_processes_and_of_late(directory: ModelDirectory) -> None:
    now = 1_000.0
    vital = directory.vitals.of("one")
    vital.note_first(now - SEEN_S - 1, 9.0)
    vital.note_first(now - 1, 0.3)
    vital.note_pace(now - 1, 10, 0.2)
    board = Board([encode({"one": Sighting(900.0, [100.0, 200.0], [10.0]), "gone": Sighting(5.0)})])
    backends.replace("sighting_board", board)
    await share_sightings(now)
    seen = seen_vitals("one", now, ReplicaLoad(1, 0, 0.5, cache_asked=10, cache_hits=4))
    assert seen is not None
    assert (seen.ttft_ms, seen.ttft_p99_ms) == (200.0, 300.0)
    assert (seen.gap_ms, seen.gap_p99_ms) == (10.0, 20.0)
    assert (seen.prefill_tps, seen.kv_usage, seen.hit_rate) == (900.0, 0.5, 0.4)
    assert seen_vitals("two", now, None) is None
    # The others hear of the same: not of what is long past, nor of replicas that nobody called.
    (told,) = board.told
    heard = Sightings()
    heard.hear([told])
    assert heard.of("one") == [Sighting(0.0, [300.0], [20.0])]
    assert heard.of("two") == []


async def test_a_speed_is_adopted_until_an_own_one_is_learned(directory: ModelDirectory) -> None:
    directory.vitals.of("two").note_prefill(1_000, 0.5)
    told = encode({"one": Sighting(900.0), "two": Sighting(900.0), "unknown": Sighting(900.0)})
    backends.replace("sighting_board", Board([encode({"one": Sighting(700.0)}), told]))
    await share_sightings(0.0)
    assert directory.vitals.of("one").speed == 900.0
    assert directory.vitals.of("two").speed == 2_000.0
    assert directory.vitals.sighting("unknown", 0.0) is None


async def test_who_is_left_alone_elsewhere_is_told(directory: ModelDirectory) -> None:
    for name in ("one", "two"):
        directory.health.probe_succeeded(name, 1.0)
    backends.replace(
        "sighting_board", Board([encode({"one": Sighting(left_alone="slow", left_alone_s=7.0)})])
    )
    await share_sightings(0.0)
    found = seen_health("one")
    assert found is not None
    assert (found.available, found.left_alone, found.left_alone_s) == (False, "slow", 7.0)
    # It is the other one's judgement: this process goes on calling it.
    assert directory.health.available("one")
    well = seen_health("two")
    assert well is not None
    assert well.available
    assert not well.left_alone
    directory.health.leave_alone("two", "hangs")
    own = own_sighting("two", 0.0)
    assert own is not None
    assert (own.left_alone, own.left_alone_s) == ("hangs", 10.0)


async def test_while_the_board_is_away_a_process_knows_of_itself(directory: ModelDirectory) -> None:
    board = Board([encode({"one": Sighting(900.0, [100.0])})])
    backends.replace("sighting_board", board)
    await share_sightings(0.0)
    assert directory.sightings.of("one")
    board.away = True
    await share_sightings(0.0)
    assert directory.sightings.of("one") == []


async def test_one_process_alone_hears_nothing() -> None:
    assert list(await MemorySightingBoard().exchange(b"something")) == []


@pytest.mark.services
@pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis")
async def test_processes_hear_one_another_over_redis() -> None:
    # Far from the clocks of servers that use the same Redis: they neither hear these nor are heard.
    clock = FrozenClock(datetime(2040, 1, 1, tzinfo=UTC))
    one, two, silent = (RedisSightingBoard(url=REDIS_URL, clock=clock) for _ in range(3))
    mark = uuid.uuid4().hex.encode()
    try:
        await one.exchange(b"one " + mark)
        assert b"one " + mark in await two.exchange(b"two " + mark)
        assert b"one " + mark not in await one.exchange(b"")
        assert {b"one " + mark, b"two " + mark} <= set(await silent.exchange(b""))
        clock.advance(HEARD_S - 1)
        await one.exchange(b"one again " + mark)
        assert b"one " + mark not in await two.exchange(b"")
        clock.advance(2)
        # The second one has said nothing for too long.
        heard = set(await silent.exchange(b""))
        assert b"one again " + mark in heard
        assert b"two " + mark not in heard
        clock.advance(FORGOTTEN_S)
        assert not [each for each in await silent.exchange(b"") if mark in each]
    finally:
        for board in (one, two, silent):
            await board.close()


async def test_a_redis_that_is_away_is_said_to_be() -> None:
    board = RedisSightingBoard(url="redis://127.0.0.1:1/0")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await board.exchange(b"something")
    assert time.monotonic() - began < 5
    await board.close()
