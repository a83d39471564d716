"""Gateways in virtual time: one that runs another router's policy, with no queue, a first-come one, or VTC's."""

import math
from collections import deque
from collections.abc import Sequence as Many

from benchmarks.routing.arms import Arm, Seen
from benchmarks.routing.engine import BLOCK, Replica, Request, Sequence
from benchmarks.routing.virtual import Timeline

# What a waiting room of the other arms holds, as Atrium's does.
QUEUE = 1000


class PlainGateway:
    """Sends each request to the replica that an arm chooses; at most `slots` to each at once, when there is a queue."""

    def __init__(
        self, timeline: Timeline, replicas: Many[Replica], arm: Arm, *, queue: str = "none", slots: int = 32
    ) -> None:
        """`queue` is `none`, `fcfs` or `vtc`."""
        self.timeline = timeline
        self.seen = [Seen(each) for each in replicas]
        self.arm = arm
        self._slots = slots if queue != "none" else math.inf
        self._line: FirstCome | VirtualTokens = VirtualTokens() if queue == "vtc" else FirstCome()
        if arm.poll:
            timeline.every(arm.poll, self._poll)

    def arrive(self, request: Request) -> None:
        """A request comes."""
        if self._line.waiting >= QUEUE:
            request.rejected = "full"
            return
        self._line.add(request)
        self._give_out()

    def _poll(self) -> None:
        for each in self.seen:
            each.poll()

    def _give_out(self) -> None:
        while self._line.waiting:
            free = [each for each in self.seen if each.in_flight < self._slots]
            if not free:
                return
            request = self._line.take()
            self._send(request, self.arm.choose(request, free))

    def _send(self, request: Request, seen: Seen) -> None:
        blocks = -(-request.prompt_tokens // BLOCK)
        request.replica = seen.replica.name
        seen.in_flight += 1
        seen.unread_tokens += request.prompt_tokens
        seen.active_blocks += blocks
        unread = [request.prompt_tokens]

        def on_tokens(count: int) -> None:
            seen.unread_tokens -= unread[0]
            unread[0] = 0
            self._line.charge(request, count)

        def on_end(_: bool) -> None:
            seen.in_flight -= 1
            seen.active_blocks -= blocks
            self._give_out()

        seen.replica.submit(Sequence(request, on_tokens, on_end))


class FirstCome:
    """A queue in order of arrival."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, request: Request) -> None:
        """Behind all others."""
        self._waiting.append(request)

    def take(self) -> Request:
        """The first."""
        return self._waiting.popleft()

    def charge(self, request: Request, tokens: int) -> None:
        """Nothing is counted."""


class VirtualTokens:
    """VTC (OSDI'24): the tenant with the smallest counter first; prompts count once, answers twice."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Request]] = {}
        self._counters: dict[str, float] = {}
        self.waiting = 0

    def add(self, request: Request) -> None:
        """Behind the tenant's own; one that had nothing waiting is lifted to the least of the others."""
        tenant = request.tenant
        if not self._waiting.get(tenant):
            others = [self._counters[each] for each, line in self._waiting.items() if line]
            floor = min(others, default=0.0)
            self._counters[tenant] = max(self._counters.get(tenant, 0.0), floor)
            self._waiting[tenant] = deque()
        self._waiting[tenant].append(request)
        self.waiting += 1

    def take(self) -> Request:
        """The first of the tenant that used least."""
        tenant = min((each for each, line in self._waiting.items() if line), key=self._counters.__getitem__)
        self.waiting -= 1
        request = self._waiting[tenant].popleft()
        self._counters[tenant] += request.prompt_tokens / request.weight
        return request

    def charge(self, request: Request, tokens: int) -> None:
        """Tokens were written."""
        self._counters[request.tenant] += 2 * tokens / request.weight
