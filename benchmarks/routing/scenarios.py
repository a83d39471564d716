"""The workloads of the benchmark, each over every arm and several seeds: what was measured, as rows of a table."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.routing import workloads
from benchmarks.routing.engine import PROFILES, Profile, Request
from benchmarks.routing.measures import done, goodput, jain, percentile, rejected
from benchmarks.routing.redis_core import URL_VARIABLE
from benchmarks.routing.runs import ARMS, ATRIUM, ORACLE, OVER_REDIS, TUNED, MakeArm, Run

Figures = Mapping[str, float]

# W1: the shared texts of 150 tenants are 0.7 or 1.5 times what the caches of eight replicas hold together.
W1_REPLICAS, W1_TENANTS, W1_PREFIX = 8, 150, 6000
W1_BLOCKS = {"0.7": 2500, "1.5": 1170}
W1_LOADS = (0.2, 0.6, 0.8, 1.0, 1.2)
# The promise that goodput counts: seconds to the first token, seconds between tokens.
SLO = {"ttft": 1.0, "tpot": 0.05}
INTERACTIVE_SLO_S = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a table: where it belongs, and the work itself."""

    table: str
    row: str
    arm: str
    seed: int
    run: Callable[[], Figures]


def latencies(requests: list[Request]) -> dict[str, float]:
    """What every table shows."""
    ended = done(requests)
    return {
        "p50 TTFT s": percentile([each.ttft for each in ended], 0.5),
        "p99 TTFT s": percentile([each.ttft for each in ended], 0.99),
        "p50 TPOT ms": 1000 * percentile([each.tpot for each in ended], 0.5),
        "rejected": rejected(requests),
        "unanswered": 1 - rejected(requests) - len(ended) / len(requests),
    }


def shared_prefix(
    arm: str,
    queue: str,
    seed: int,
    profile: Profile,
    rate: float,
    seconds: float,
    made: MakeArm | None = None,
) -> Figures:
    """W1."""
    requests = workloads.shared_prefix(seed, rate=rate, seconds=seconds, tenants=W1_TENANTS, prefix=W1_PREFIX)
    run = Run(arm, [profile] * W1_REPLICAS, seed=seed, queue=queue, made=made).play(requests)
    # The caches are cold in the first third.
    warm = [each for each in requests if each.arrival >= seconds / 3]
    in_time = [each for each in requests if seconds / 3 <= each.end <= seconds]
    return latencies(warm) | {
        "hit rate": run.hit_rate,
        "answers/s": len(in_time) / (seconds * 2 / 3),
        "goodput/s": goodput(warm, seconds * 2 / 3, **SLO),
    }


def noisy_neighbour(
    arm: str, queue: str, seed: int, profile: Profile, flood: float, seconds: float
) -> Figures:
    """W2: nine polite tenants at half of their share beside one at `flood` times its own."""
    replicas = 4
    capacity = replicas * _work_rate(profile)
    requests = workloads.noisy_neighbour(seed, capacity=capacity, seconds=seconds, flood=flood)
    run = Run(arm, [profile] * replicas, seed=seed, queue=queue)
    run.play(requests)
    polite = [each for each in requests if each.tenant != "flooder"]
    flooder = [each for each in requests if each.tenant == "flooder"]
    in_time = [each for each in done(flooder) if each.end <= seconds]
    served = {
        name: sum(workloads.work(each) for each in done(polite) if each.tenant == name)
        / max(1, sum(workloads.work(each) for each in polite if each.tenant == name))
        for name in {each.tenant for each in polite}
    }
    return latencies(polite) | {
        "flooder rejected": rejected(flooder),
        "flooder p50 TTFT s": percentile([each.ttft for each in done(flooder)], 0.5),
        "flooder's work/s": sum(map(workloads.work, in_time)) / seconds,
        "Jain, polite": jain(list(served.values())),
    }


def backlogged(arm: str, queue: str, seed: int, profile: Profile, weights: tuple[int, ...]) -> Figures:
    """W2, all tenants always waiting: how evenly, by weight, they are served while they all wait."""
    replicas, seconds = 2, 120.0
    rate = replicas * _work_rate(profile)
    requests: list[Request] = []
    for at, weight in enumerate(weights):
        lengths = workloads.Lengths(prompt=(200, 800, 1600)[at % 3], answer=(300, 120, 60)[at % 3])
        own = workloads.even(
            seed * 100 + at, rate=3 * rate / len(weights) / 900, seconds=seconds, lengths=lengths
        )
        for each in own:
            each.id += at * 1_000_000
            each.tenant, each.weight = f"t{at}", weight
            each.blocks, each.answer_blocks = (), ()
        requests += own
    requests.sort(key=lambda each: each.arrival)
    run = Run(arm, [profile] * replicas, seed=seed, queue=queue, slots=32)
    run.play(requests, until=seconds)
    # In the last two thirds all have a queue.
    given = [
        sum(
            workloads.work(each) / weight
            for each in requests
            if each.tenant == f"t{at}" and seconds / 3 < each.end <= seconds
        )
        for at, weight in enumerate(weights)
    ]
    mean = sum(given) / len(given)
    longest = max(each.prompt_tokens for each in requests)
    # What can be in flight at most: the longest answers in all slots (VTC's w_out · M).
    written = sum(sorted(each.output_tokens for each in requests)[-replicas * 32 :])
    return {
        "Jain": jain(given),
        "largest gap, tokens": max(given) - min(given),
        "bound of VTC, tokens": 2 * max(longest, 2 * written) / min(weights),
        "largest gap, % of mean": 100 * (max(given) - min(given)) / mean if mean else 100.0,
    }


def mixed_classes(arm: str, queue: str, seed: int, profile: Profile, seconds: float) -> Figures:
    """W3: interactive at 40 % beside batch at 90 % of what the pool can do."""
    replicas = 4
    capacity = replicas * _work_rate(profile)
    requests = workloads.mixed_classes(seed, capacity=capacity, seconds=seconds)
    for each in requests:
        each.wait = 60.0 if each.klass == "interactive" else 300.0
    Run(arm, [profile] * replicas, seed=seed, queue=queue).play(requests)
    quick = [each for each in requests if each.klass == "interactive"]
    slow = [each for each in requests if each.klass == "batch"]
    admitted = [each for each in slow if not each.rejected]
    return latencies(quick) | {
        "within SLO": sum(each.ttft <= INTERACTIVE_SLO_S for each in done(quick)) / len(quick),
        "batch rejected": rejected(slow),
        "admitted batch done": len(done(admitted)) / max(1, len(admitted)),
        "longest batch wait s": max((each.started - each.arrival for each in done(slow)), default=0.0),
    }


def gray_failure(arm: str, queue: str, seed: int, profile: Profile, seconds: float) -> Figures:
    """W5: one of four replicas becomes ten times slower, though its health check is fine."""
    replicas, when = 4, seconds / 3
    rate = 0.6 * replicas * _work_rate(profile) / 830
    requests = workloads.even(seed, rate=rate, seconds=seconds)
    run = Run(arm, [profile] * replicas, seed=seed, queue=queue)
    run.timeline.at(when, lambda: run.replicas[0].become(profile.times(10)))
    run.play(requests)
    after = [each for each in requests if each.arrival > when + 10]
    figures = latencies(after) | {
        "to the slow one": sum(each.replica == "r0" for each in after) / max(1, len(after))
    }
    if arm == ATRIUM:
        left = [name for gateway in run.gateways for _, name, _ in getattr(gateway, "left_alone", ())]
        figures["false ejections"] = float(sum(name != "r0" for name in left))
    return figures


def unequal_speeds(arm: str, queue: str, seed: int, profile: Profile, load: float, seconds: float) -> Figures:
    """W6: three replicas, one twice and one four times as fast as the first. The oracle knows the speeds."""
    profiles = [profile.times(2), profile, profile.times(0.5)]
    rate = load * sum(map(_work_rate, profiles)) / 830
    requests = workloads.even(seed, rate=rate, seconds=seconds)
    Run(arm, profiles, seed=seed, queue=queue).play(requests)
    return latencies(requests) | {"goodput/s": goodput(requests, seconds, **SLO)}


def several_gateways(
    arm: str, queue: str, seed: int, profile: Profile, gateways: int, sees_load: bool, seconds: float
) -> Figures:
    """W8: the load of W6's pool of equals through one or four processes, or without the engines' metrics."""
    replicas = 4
    rate = 0.85 * replicas * _work_rate(profile) / 830
    requests = workloads.even(seed, rate=rate, seconds=seconds)
    run = Run(arm, [profile] * replicas, seed=seed, queue=queue, gateways=gateways, sees_load=sees_load)
    run.play(requests)
    return latencies(requests) | {"goodput/s": goodput(requests, seconds, **SLO)}


def _work_rate(profile: Profile) -> float:
    """About what a replica does in a second when its batch is full, in prompt tokens + 2 · answer tokens.

    For prompts of 450 and answers of 170 tokens, the means of `workloads.even`.
    """
    batch = profile.sequences
    read = 450 * profile.per_token + profile.per_prompt
    written = 170 * (profile.base / batch + profile.per_sequence)
    return (450 + 2 * 170) / (read + written)


def cases(names: set[str], seeds: range, quick: bool) -> Iterator[Case]:
    """All runs of the tables named; `quick` takes fewer loads."""
    for seed in seeds:
        for table, row, work in _works(quick):
            if table in names:
                for arm, queue in _arms(table, row):
                    named = arm if queue in ("none", "own") else f"{arm}, {queue}"
                    yield Case(table, row, named, seed, partial(work, arm, queue, seed))


def _arms(table: str, row: str) -> list[tuple[str, str]]:
    """The arms of a row, each with its queue."""
    own = (ATRIUM, "own")
    over_redis = [(OVER_REDIS, "own")] if os.environ.get(URL_VARIABLE) else []
    if table == "W1":
        # It asks where a call goes, not when: the other arms have no queue there, as in their sources.
        tuned = [(arm, "none") for arm in TUNED] if row.endswith(("80%", "100%")) else []
        return [*((arm, "none") for arm in ARMS), *tuned, own]
    if table == "W8":
        return [("least request", "none"), own, *over_redis]
    if table in PROFILE_TABLES:
        return [("least request", "vtc"), ("llm-d 2/2/3", "none"), *ORACLES.get(table, ()), own]
    plain = [(arm, "none") for arm in ARMS]
    queued = [(arm, queue) for arm in ("least request", "vLLM DP score") for queue in ("fcfs", "vtc")]
    return [*plain, *queued, *ORACLES.get(table, ()), own, *(over_redis if table in ("W2", "W3") else ())]


def _works(quick: bool) -> Iterator[tuple[str, str, Callable[[str, str, int], Figures]]]:
    profile = PROFILES["h100"]
    seconds = LOAD_S
    for demand, blocks in W1_BLOCKS.items():
        tight = replace(profile, blocks=blocks)
        for load in W1_QUICK_LOADS if quick else W1_LOADS:
            rate = load * W1_CAPACITY[demand]
            yield (
                "W1",
                f"KV ×{demand}, load {load:.0%}",
                partial(shared_prefix, profile=tight, rate=rate, seconds=1.5 * seconds),
            )
    yield "W2", HELD, partial(noisy_neighbour, profile=profile, flood=1.0, seconds=seconds)
    yield "W2", FLOODED, partial(noisy_neighbour, profile=profile, flood=10.0, seconds=seconds)
    yield "W2", ALONE, partial(noisy_neighbour, profile=profile, flood=0.0, seconds=seconds)
    yield "W2 service", "six equal tenants", partial(backlogged, profile=profile, weights=(1,) * 6)
    yield "W2 service", "weights 4:2:1", partial(backlogged, profile=profile, weights=(4, 2, 1))
    yield "W3", MIXED, partial(mixed_classes, profile=profile, seconds=seconds)
    yield "W5", "one of four ten times slower", partial(gray_failure, profile=profile, seconds=seconds)
    for load in (0.7,) if quick else (0.5, 0.7, 0.9):
        row = f"speeds 1:2:4, load {load:.0%}"
        yield "W6", row, partial(unequal_speeds, profile=profile, load=load, seconds=seconds)
    for row, gateways, sees in (
        ("one process", 1, True),
        ("four processes", 4, True),
        ("one process, no metrics", 1, False),
    ):
        yield (
            "W8",
            row,
            partial(several_gateways, profile=profile, gateways=gateways, sees_load=sees, seconds=seconds),
        )
    for name, title in OTHER_PROFILES.items():
        other, short = PROFILES[name], seconds / 2 if name in ("double", "cpu") else seconds
        for row, flood in ((HELD, 1.0), (FLOODED, 10.0)):
            work = partial(noisy_neighbour, profile=other, flood=flood, seconds=short)
            yield "W2 profiles", f"{title}: {row}", work
        yield "W3 profiles", f"{title}: {MIXED}", partial(mixed_classes, profile=other, seconds=short)
        yield (
            "W6 profiles",
            f"{title}: speeds 1:2:4, load 70%",
            partial(unequal_speeds, profile=other, load=0.7, seconds=short),
        )


# Requests a second that the best arm (llm-d, with caches still cold) answered when it was flooded.
W1_CAPACITY = {"0.7": 22.0, "1.5": 8.5}
TABLES = ("W1", "W2", "W2 service", "W3", "W5", "W6", "W8", "W2 profiles", "W3 profiles", "W6 profiles")
PROFILE_TABLES = TABLES[-3:]
OTHER_PROFILES = {"half": "half as fast", "double": "twice as fast", "cpu": "as measured on the CPU replicas"}
# W6 has an oracle that knows the speeds.
ORACLES = {"W6": [(ORACLE, "none")], "W6 profiles": [(ORACLE, "none")]}
HELD, FLOODED, ALONE = "flooder at its share", "flooder at ten times", "no flooder"
MIXED = "40 % interactive, 90 % batch"
# Seconds that a load is offered; W1's, whose first third only fills the caches, half as long again.
LOAD_S = 60.0
W1_QUICK_LOADS = (0.4, 0.8, 1.0)
