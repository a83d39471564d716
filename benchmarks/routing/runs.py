"""One run: a load, a pool of replicas and a gateway, until everything has ended."""

import json
import os
import random
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Many
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.routing import arms
from benchmarks.routing.atrium import AtriumGateway, SharedQueue
from benchmarks.routing.engine import Profile, Replica, Request
from benchmarks.routing.gateways import QUEUE, PlainGateway
from benchmarks.routing.redis_core import URL_VARIABLE
from benchmarks.routing.virtual import Timeline
from routing.reckoning import QueueBounds

ATRIUM = "Atrium"
# The same with its queue in a real Redis.
OVER_REDIS = "Atrium over Redis"
SLOTS = 64
# After the last arrival nothing is waited for longer than this.
PATIENCE_S = 1800.0

MakeArm = Callable[[random.Random], arms.Arm]
ARMS: dict[str, MakeArm] = {
    "round robin": lambda _: arms.RoundRobin(),
    "least request": arms.LeastRequest,
    "power of two": arms.PowerOfTwo,
    "production-stack prefix": arms.ProductionStackPrefix,
    "SGLang cache-aware": lambda _: arms.SglangCacheAware(),
    "llm-d 2/2/3": arms.LlmD,
    "Dynamo cost": lambda _: arms.DynamoCost(),
    "vLLM DP score": lambda _: arms.VllmDp(),
}
ORACLE = "oracle"
# What `tune.py` found on seeds of its own, by the name of the arm.
TUNED_FILE = Path(__file__).with_name("tuned.json")


def tunable(arm: str, parameters: Mapping[str, Any]) -> MakeArm:
    """An arm of those that have parameters, with these."""
    given = dict(parameters)
    if arm == "SGLang cache-aware":
        return lambda _: arms.SglangCacheAware(**given)
    if arm == "llm-d 2/2/3":
        return lambda rng: arms.LlmD(rng, weights=tuple(given["weights"]))
    return lambda _: arms.DynamoCost(**given)


def _tuned() -> dict[str, MakeArm]:
    found = json.loads(TUNED_FILE.read_text())["arms"] if TUNED_FILE.exists() else {}
    return {f"{arm}, tuned": tunable(arm, each["parameters"]) for arm, each in found.items()}


TUNED = _tuned()
Gateway = AtriumGateway | PlainGateway


class Run:
    """A pool and its gateways in virtual time; `play` offers them a load."""

    def __init__(
        self,
        arm: str,
        profiles: Many[Profile],
        *,
        seed: int = 0,
        queue: str = "none",
        gateways: int = 1,
        slots: int = SLOTS,
        sees_load: bool = True,
        made: MakeArm | None = None,
    ) -> None:
        """One replica of each profile. Atrium's queue is its own; `queue` is that of the other arms. `made` is another arm."""
        self.timeline = Timeline()
        self.replicas = [Replica(self.timeline, f"r{i}", profile) for i, profile in enumerate(profiles)]
        self.arm = arm
        self.shared: SharedQueue | None = None
        if arm in (ATRIUM, OVER_REDIS):
            redis_url = os.environ[URL_VARIABLE] if arm == OVER_REDIS else ""
            shared = self.shared = SharedQueue(self.timeline, QueueBounds.of(QUEUE), redis_url)
            self.gateways: list[Gateway] = [
                AtriumGateway(self.timeline, self.replicas, shared, slots=slots, sees_load=sees_load)
                for _ in range(gateways)
            ]
        else:
            make = made or ARMS.get(arm) or TUNED.get(arm) or (lambda _: arms.Oracle())
            self.gateways = [
                PlainGateway(
                    self.timeline,
                    self.replicas,
                    make(random.Random(seed * 1000 + i)),
                    queue=queue,
                    slots=max(1, slots // gateways),
                )
                for i in range(gateways)
            ]

    def play(self, requests: Iterable[Request], *, until: float | None = None) -> "Run":
        """Offer the requests at their times and let everything end (or stop at `until`)."""
        last = 0.0
        for at, request in enumerate(requests):
            self.timeline.at(request.arrival, partial(self.gateways[at % len(self.gateways)].arrive, request))
            last = request.arrival
        self.timeline.run(last + PATIENCE_S if until is None else until)
        if self.shared is not None:
            self.shared.close()
        return self

    @property
    def hit_rate(self) -> float:
        """The share of prompt tokens that the engines found in their caches."""
        asked = sum(each.prompt_tokens for each in self.replicas)
        return sum(each.cached_tokens for each in self.replicas) / asked if asked else 0.0
