"""The benchmark's own judgement: what is called met, and what is called missed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from fakes.redis_server import REDIS, RedisServer

from benchmarks.routing import workloads
from benchmarks.routing.arms import Oracle, Seen
from benchmarks.routing.beside import judge_scaling
from benchmarks.routing.engine import PROFILES, Replica, Sequence
from benchmarks.routing.measures import done
from benchmarks.routing.redis_core import URL_VARIABLE
from benchmarks.routing.runs import ATRIUM, ORACLE, OVER_REDIS, Run
from benchmarks.routing.scenarios import FLOODED, HELD
from benchmarks.routing.verdicts import as_markdown, judge
from benchmarks.routing.virtual import Timeline

H100 = PROFILES["h100"]


def noisy(flooded: float, over_redis: float = 0.0) -> dict[str, dict[str, dict[str, dict[str, list[float]]]]]:
    def row(p99: float, redis_p99: float) -> dict[str, dict[str, list[float]]]:
        arms = {ATRIUM: [p99, p99], "least request, vtc": [4.0, 5.0]}
        if over_redis:
            arms[OVER_REDIS] = [redis_p99, redis_p99]
        none = {arm: [0.0, 0.0] for arm in arms}
        return {"p99 TTFT s": arms, "rejected": none, "flooder rejected": {arm: [0.1, 0.3] for arm in arms}}

    return {"W2": {FLOODED: row(flooded, over_redis), HELD: row(0.5, 0.5)}}


@pytest.mark.parametrize(("p99", "met"), [(0.6, True), (0.61, False)])
def test_a_ratio_above_what_was_wanted_is_missed_and_says_so(p99: float, met: bool) -> None:
    (line,) = judge(noisy(p99))
    assert line.met is met
    assert f"{p99 / 0.5:.2f} ×" in line.reached
    assert line.refused == "polite 0.0%, flooder 20.0%"
    assert ("**missed**" in as_markdown([line])) is not met


@pytest.mark.parametrize(
    ("kept", "seconds", "flaps", "met"),
    [
        (0.9, 100.0, 0.0, [True, True, True]),
        (0.7, 100.0, 0.0, [False, True, True]),
        (0.9, 200.0, 1.0, [False, False, False]),
    ],
)
def test_a_pool_that_grows_is_judged_by_promises_and_by_cost(
    kept: float, seconds: float, flaps: float, met: list[bool]
) -> None:
    def arm(kept: float, seconds: float, flaps: float) -> dict[str, list[float]]:
        return {"promise kept": [kept], "replica-seconds": [seconds], "flaps": [flaps], "refused": [0.02]}

    arms = {"Atrium": arm(kept, seconds, flaps), "HPA": arm(0.8, 150.0, 2.0), "KPA": arm(0.4, 150.0, 9.0)}
    lines = list(judge_scaling({"waves": arms}))
    assert [line.met for line in lines] == met
    assert {line.refused for line in lines} == {"2.0%"}


def test_the_queue_over_redis_is_judged_beside_the_one_in_the_process() -> None:
    own, over = judge(noisy(0.5, over_redis=5.0))
    assert (own.workload, own.met) == ("W2 noisy neighbour ×10", True)
    assert (over.workload, over.met) == ("W2 noisy neighbour ×10, over Redis", False)
    # It is no other router's arm.
    assert "least request, vtc" in over.reached


def test_goodput_is_judged_against_the_oracle_and_not_called_the_best_other() -> None:
    goodput = {ATRIUM: [9.6], ORACLE: [10.0], "round robin": [5.0]}
    (line,) = judge({"W6": {"row": {"goodput/s": goodput, "rejected": {ATRIUM: [0.0]}}}})
    assert line.met
    assert line.reached.startswith("96.0%")
    assert "round robin" in line.reached


def test_an_oracle_that_is_beaten_shows_nothing() -> None:
    goodput = {ATRIUM: [20.0], ORACLE: [10.0], "round robin": [5.0]}
    (line,) = judge({"W6": {"row": {"goodput/s": goodput, "rejected": {ATRIUM: [0.0]}}}})
    assert line.met is None


def test_the_oracle_knows_speeds_and_what_is_left_to_read() -> None:
    timeline = Timeline()
    slow, fast = (
        Seen(Replica(timeline, name, profile)) for name, profile in (("slow", H100.times(4)), ("fast", H100))
    )
    asked = workloads.even(1, rate=50, seconds=1)
    assert Oracle().choose(asked[0], [slow, fast]) is fast
    for each in asked[1:40]:
        fast.replica.submit(Sequence(each, lambda _: None, lambda _: None))
    assert Oracle().choose(asked[0], [slow, fast]) is slow


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    server = RedisServer(tmp_path)
    server.start()
    yield server.url
    server.stop()


@pytest.mark.services
@pytest.mark.skipif(REDIS is None, reason="no redis-server on this machine")
def test_a_run_over_a_redis_answers_all_and_leaves_nothing(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, redis_url)
    requests = workloads.noisy_neighbour(2, capacity=8000, seconds=8, flood=10)
    Run(OVER_REDIS, [H100] * 2, seed=2, gateways=2, slots=16).play(requests)
    assert len(done(requests)) + sum(bool(each.rejected) for each in requests) == len(requests)
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.close()
