"""The simulated replica keeps vLLM's laws: its times, its cache, its batch."""

import random
from dataclasses import replace

import pytest

from benchmarks.routing import workloads
from benchmarks.routing.engine import BLOCK, PROFILES, Profile, Replica, Request, Sequence
from benchmarks.routing.measures import done, jain, paired, percentile
from benchmarks.routing.runs import ATRIUM, Run
from benchmarks.routing.virtual import Timeline

H100 = PROFILES["h100"]


def ask(replica: Replica, number: int, *, prompt: int, answer: int, blocks: tuple[int, ...] = ()) -> Request:
    made = Request(
        id=number,
        tenant="t",
        user="u",
        klass="standard",
        arrival=replica.timeline.now,
        blocks=blocks,
        prompt_tokens=prompt,
        output_tokens=answer,
    )
    replica.submit(Sequence(made, lambda _: None, lambda _: None))
    return made


def alone(profile: Profile = H100) -> Replica:
    return Replica(Timeline(), "r0", profile)


def test_a_lone_request_takes_thirty_milliseconds_and_a_quarter_for_each_token() -> None:
    replica = alone()
    made = ask(replica, 1, prompt=1000, answer=11)
    replica.timeline.run()
    assert made.ttft == pytest.approx(0.030 + 1000 * 0.00025, rel=0.01)
    assert made.tpot == pytest.approx(0.012, rel=0.01)


def test_a_full_batch_writes_half_as_fast_for_each() -> None:
    replica = alone()
    made = [ask(replica, number, prompt=8, answer=200) for number in range(H100.sequences)]
    replica.timeline.run()
    assert percentile([each.tpot for each in made], 0.5) == pytest.approx(0.024, rel=0.1)


def test_a_cached_beginning_is_not_read_again() -> None:
    replica = alone()
    blocks = tuple(range(1, 51))
    first = ask(replica, 1, prompt=50 * BLOCK + 10, answer=2, blocks=blocks)
    replica.timeline.run()
    second = ask(replica, 2, prompt=50 * BLOCK + 10, answer=2, blocks=blocks)
    replica.timeline.run()
    assert (first.cached_tokens, second.cached_tokens) == (0, 50 * BLOCK)
    assert second.ttft < first.ttft / 10


def test_the_least_recently_used_goes_first() -> None:
    replica = alone(replace(H100, blocks=100))
    old, new = tuple(range(1, 41)), tuple(range(101, 141))
    for number, blocks in enumerate((old, new, new, tuple(range(201, 241)))):
        ask(replica, number, prompt=40 * BLOCK + 5, answer=2, blocks=blocks)
        replica.timeline.run()
    kept = ask(replica, 8, prompt=40 * BLOCK + 5, answer=2, blocks=new)
    replica.timeline.run()
    gone = ask(replica, 9, prompt=40 * BLOCK + 5, answer=2, blocks=old)
    replica.timeline.run()
    assert kept.cached_tokens == 40 * BLOCK
    # Of a chain the end goes before the beginning.
    assert 0 < gone.cached_tokens < 20 * BLOCK


def test_no_block_is_lost_or_made_under_pressure() -> None:
    rng = random.Random(4)
    profile = replace(H100, blocks=300, sequences=16)
    replica = alone(profile)
    made = workloads.shared_prefix(4, rate=20, seconds=30, tenants=12, prefix=1200)
    for each in made:
        each.output_tokens = rng.randint(50, 400)
        replica.timeline.at(
            each.arrival, lambda each=each: replica.submit(Sequence(each, lambda _: None, lambda _: None))
        )  # type: ignore[misc]
    replica.timeline.run()
    assert len(done(made)) == len(made)
    assert replica.preemptions > 0
    assert replica.kv_usage == 0.0
    assert replica._free + len(replica._idle_blocks) == profile.blocks


@pytest.mark.parametrize("arm", [ATRIUM, "least request"])
def test_the_same_seed_gives_the_same_run_and_everything_ends(arm: str) -> None:
    outcomes = []
    for _ in range(2):
        requests = workloads.even(3, rate=20, seconds=20)
        Run(arm, [H100] * 2, seed=3).play(requests)
        assert all(each.rejected or each.end >= each.first >= each.arrival for each in requests)
        outcomes.append([(each.replica, each.end) for each in requests])
    assert outcomes[0] == outcomes[1]


def test_figures() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert jain([1, 1, 1]) == pytest.approx(1.0)
    assert jain([1, 0, 0]) == pytest.approx(1 / 3)
    difference = paired([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    assert (difference.mean, difference.half) == (1.0, 0.0)
