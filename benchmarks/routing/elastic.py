"""A pool whose replicas come and go in virtual time, behind Atrium's gateway: the same for every arm of W7.

A replica costs from the moment it is asked for until its last call has ended, and serves `warmup` seconds later. Those
to be stopped first are on their way still, then those with the fewest calls; they finish what they have. While there is no
replica, calls wait as long as they would for a slot, as many as fit the queue.
"""

import math
from collections.abc import Sequence as Many
from functools import partial
from itertools import pairwise

from msgspec.structs import replace

from benchmarks.routing.atrium import AtriumGateway, SharedQueue
from benchmarks.routing.engine import Profile, Replica, Request
from benchmarks.routing.gateways import QUEUE
from benchmarks.routing.measures import percentile
from benchmarks.routing.scaling_arms import ScalingArm, Sight
from benchmarks.routing.virtual import Timeline, VirtualClock
from routing.queueing import USUAL_ANSWER
from routing.reckoning import QueueBounds
from routing.scaling_types import Signals

SLOTS = 64
# What a promise is judged by.
RECENT_S = 45.0


class ElasticGateway(AtriumGateway):
    """Atrium's gateway over replicas that come and go."""

    def __init__(self, timeline: Timeline, queue: SharedQueue) -> None:
        """Without a replica."""
        super().__init__(timeline, [], queue, slots=SLOTS)
        self.held: dict[int, Request] = {}

    def arrive(self, request: Request) -> None:
        """A request comes; without a replica it is held."""
        if self._replicas:
            super().arrive(request)
        elif len(self.held) >= QUEUE:
            request.rejected = "full"
        else:
            self.held[request.id] = request
            self.timeline.after(request.wait, lambda: self._given_up(request))

    def join(self, replica: Replica) -> None:
        """A replica is ready; whoever waits may go there too."""
        self._replicas[replica.name] = replica
        self._ask_again()

    def leave(self, name: str) -> None:
        """No new calls for a replica."""
        del self._replicas[name]
        self._ask_again()

    def held_tokens(self) -> int:
        """The work of those that are held, in tokens."""
        return sum(each.prompt_tokens + USUAL_ANSWER for each in self.held.values())

    def waiting_calls(self) -> int:
        """How many wait."""
        return len(self._waiting) + len(self.held)

    def _given_up(self, request: Request) -> None:
        if self.held.pop(request.id, None) is not None:
            request.rejected = "late"

    def _ask_again(self) -> None:
        now = self.timeline.now
        waiting = sorted((*self._waiting.values(), *self.held.values()), key=lambda each: each.arrival)
        self.held.clear()
        for ticket in list(self._waiting):
            self.queue.core.cancel(ticket)
            self.queue.owners.pop(ticket)
            self._leave(ticket)
        for request in waiting:
            patience = request.wait
            request.wait = max(0.0, request.arrival + patience - now)
            self.arrive(request)
            request.wait = patience

    def _late(self, id: str) -> None:
        request = self._waiting.get(id)
        # A ticket that asked again has the timer of its first time still.
        if request is not None and self.timeline.now >= request.arrival + request.wait - 1e-6:
            super()._late(id)


class ElasticPool:
    """The pool, what it costs, and the arm that says how large it is."""

    def __init__(
        self,
        timeline: Timeline,
        profile: Profile,
        arm: ScalingArm,
        *,
        begin: int,
        warmup: float,
        slo: tuple[float, float],
    ) -> None:
        """`begin` replicas are ready at once. `slo` are seconds to the first token, and between tokens."""
        self.timeline = timeline
        self.gateway = ElasticGateway(timeline, SharedQueue(timeline, QueueBounds.of(QUEUE)))
        self.seconds = 0.0
        self.changes: list[tuple[float, int]] = []
        self._profile, self._arm, self._warmup, self._slo = profile, arm, warmup, slo
        self._clock = VirtualClock(timeline)
        self._names = 0
        self._starting: dict[str, float] = {}
        self._ready: dict[str, Replica] = {}
        self._leaving: dict[str, Replica] = {}
        self._offered: list[Request] = []
        self._recent = 0
        self._hold = 0.0
        self._told = 0
        for _ in range(begin):
            self._begin(0.0)
        timeline.every(arm.period, self._evaluate)
        timeline.every(1.0, self._count)

    @property
    def provisioned(self) -> int:
        """Replicas that were asked for and not given up."""
        return len(self._starting) + len(self._ready)

    def play(self, requests: Many[Request], until: float) -> "ElasticPool":
        """Offer the requests and go on until then."""
        self._offered = list(requests)
        for request in requests:
            self.timeline.at(request.arrival, partial(self.gateway.arrive, request))
        # Nothing else may be planned while the pool sleeps.
        self.timeline.at(until, lambda: None)
        self.timeline.run(until)
        return self

    def _begin(self, warmup: float) -> None:
        name = f"r{self._names}"
        self._names += 1
        self._starting[name] = self.timeline.now
        if warmup:
            self.timeline.after(warmup, lambda: self._is_ready(name))
        else:
            self._is_ready(name)

    def _is_ready(self, name: str) -> None:
        if self._starting.pop(name, None) is not None:
            replica = self._ready[name] = Replica(self.timeline, name, self._profile)
            self.gateway.join(replica)

    def _evaluate(self) -> None:
        desired = self._arm.desired(self.sight())
        if desired != self.provisioned:
            self.changes.append((self.timeline.now, desired - self.provisioned))
        while self.provisioned < desired:
            self._begin(self._warmup)
        while self.provisioned > desired:
            if self._starting:
                self._starting.pop(max(self._starting, key=lambda name: self._starting[name]))
            else:
                name = min(self._ready, key=lambda each: self._ready[each].running)
                self._leaving[name] = self._ready.pop(name)
                self.gateway.leave(name)

    def _count(self) -> None:
        """What a second costs."""
        self._leaving = {
            name: replica for name, replica in self._leaving.items() if replica.running or replica.waiting
        }
        self.seconds += self.provisioned + len(self._leaving)

    def sight(self) -> Sight:
        """What the arm is told."""
        now = self.timeline.now
        snapshot = self.gateway.queue.core.snapshot("pool")
        ttft, tpot = self._ratios(now)
        signals = Signals(
            at=now,
            now=self._clock.now(),
            ready=len(self._ready),
            provisioned=self.provisioned,
            running=sum(snapshot.running.values()),
            waiting=self.gateway.waiting_calls(),
            work=replace(snapshot.work, waiting=snapshot.work.waiting + self.gateway.held_tokens()),
            slots=SLOTS,
            ttft_ratio=ttft,
            tpot_ratio=tpot,
        )
        return Sight(now, self._clock.now(), signals)

    def _ratios(self, now: float) -> tuple[float, float]:
        """The ninth of ten calls' times over their promise, of those that ended in the last seconds."""
        if not self._arm.judges:
            return 0.0, 0.0
        while self._recent < len(self._offered) and self._offered[self._recent].arrival < now - 3 * RECENT_S:
            self._recent += 1
        firsts: list[float] = []
        gaps: list[float] = []
        for each in self._offered[self._recent :]:
            if each.arrival > now:
                break
            if each.first > now - RECENT_S:
                firsts.append(each.ttft)
            if each.end > now - RECENT_S:
                gaps.append(each.tpot)
        ttft, tpot = percentile(firsts, 0.9) / self._slo[0], percentile(gaps, 0.9) / self._slo[1]
        return 0.0 if math.isnan(ttft) else ttft, 0.0 if math.isnan(tpot) else tpot


def flaps(changes: Many[tuple[float, int]], within: float = 300.0) -> int:
    """How often replicas were stopped and others asked for within `within` seconds, or the other way round."""
    return sum(
        one * other < 0 and later - earlier < within for (earlier, one), (later, other) in pairwise(changes)
    )
