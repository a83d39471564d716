"""Atrium in virtual time: the production code of its queue, its score, its prefix index and its judgement of replicas.

What is left out is what needs a real process: sockets, limits, retries. `routing.services.placing` and
`inference.services` do in production what is done here, in the same order.
"""

from collections.abc import Sequence as Many

from benchmarks.routing.engine import BLOCK, Replica, Request, Sequence
from benchmarks.routing.redis_core import RedisCore
from benchmarks.routing.virtual import Timeline, VirtualClock
from inference.health import HealthBook
from inference.outliers import Watched, judge
from inference.types import ReplicaLoad
from inference.vitals import VitalsBook
from routing.prefixes import Prefix, PrefixIndex
from routing.queueing import Grant, PoolQueue
from routing.reckoning import QueueBounds, Refused, Shed
from routing.scoring import Weighing, weigh
from routing.types import Ticket
from tenants.types import PriorityClass

POLL_S = 1.0
POOL = "pool"


class SharedQueue:
    """The pool's queue, which all gateway processes share, as Redis holds it in production."""

    def __init__(self, timeline: Timeline, bounds: QueueBounds, redis_url: str = "") -> None:
        """Nobody waits. With `redis_url` it is the scripts' over that Redis."""
        self.core: PoolQueue | RedisCore = (
            RedisCore(redis_url, timeline, bounds, self.give_out) if redis_url else PoolQueue(bounds)
        )
        self.timeline = timeline
        self.owners: dict[str, AtriumGateway] = {}

    @property
    def now_ms(self) -> float:
        """The time as the queue counts it."""
        return self.timeline.now * 1000

    def close(self) -> None:
        """The end."""
        if isinstance(self.core, RedisCore):
            self.core.close()

    def give_out(self) -> None:
        """Tell whoever was granted a slot."""
        for grant in self.core.grant(self.now_ms):
            self.owners.pop(grant.ticket.id).granted(grant)


class AtriumGateway:
    """One gateway process."""

    def __init__(
        self,
        timeline: Timeline,
        replicas: Many[Replica],
        queue: SharedQueue,
        *,
        slots: int = 64,
        sees_load: bool = True,
    ) -> None:
        """`slots` calls at once on each replica. `sees_load`: the engines' metrics can be read."""
        self.timeline = timeline
        self.queue = queue
        self.health = HealthBook(clock=VirtualClock(timeline))
        self.vitals = VitalsBook()
        self.index = PrefixIndex()
        self.left_alone: list[tuple[float, str, str]] = []
        self._replicas = {each.name: each for each in replicas}
        self._slots = slots
        self._waiting: dict[str, Request] = {}
        self._tickets: dict[str, Ticket] = {}
        self._settled: dict[str, str] = {}
        self.sees_load = sees_load
        timeline.every(POLL_S, self._look)

    def arrive(self, request: Request) -> None:
        """A request comes."""
        weighing = self._weigh(request)
        settled = weighing.slots[weighing.settled].id if weighing.settled >= 0 else ""
        ticket = Ticket(
            id=str(request.id),
            pool=POOL,
            tenant=request.tenant,
            priority=PriorityClass(request.klass),
            replicas=weighing.worth_it,
            prompt_tokens=request.prompt_tokens,
            max_tokens=request.output_tokens,
            wait_s=request.wait,
            user=request.user,
            weight=request.weight,
        )
        core, now_ms = self.queue.core, self.queue.now_ms
        replica = core.take(ticket, now_ms)
        if replica is not None:
            self._send(ticket, request, replica)
            return
        said = core.enqueue(ticket, now_ms)
        if isinstance(said, Refused):
            request.rejected = said.why.value
            return
        self._waiting[ticket.id] = request
        self._settled[ticket.id] = settled
        if settled:
            self.index.expect(settled, self.vitals.of(settled).generation, request.blocks)
        self._tickets[ticket.id] = ticket
        self._queued(ticket, 1)
        self.queue.owners[ticket.id] = self
        if isinstance(said, Shed):
            self.queue.owners.pop(said.id).shed(said.id)
        self.timeline.after(request.wait, lambda: self._late(ticket.id))

    def granted(self, grant: Grant) -> None:
        """A ticket that waited has its slot."""
        request = self._waiting[grant.ticket.id]
        self._note(grant.replica, request)
        self._leave(grant.ticket.id)
        self._send(grant.ticket, request, grant.replica)

    def _queued(self, ticket: Ticket, sign: int) -> None:
        share = sign / len(ticket.replicas)
        for each in ticket.replicas:
            self.vitals.of(each.id).queued_s += share * each.uncached_tokens / each.prefill_tps

    def shed(self, id: str) -> None:
        """A ticket lost its place to a more urgent one."""
        self._leave(id).rejected = "shed"

    def _leave(self, id: str) -> Request:
        """The ticket waits no longer."""
        self._queued(self._tickets.pop(id), -1)
        request = self._waiting.pop(id)
        if self._settled.pop(id):
            self.index.expect_no_more(request.blocks)
        return request

    def _late(self, id: str) -> None:
        if id in self._waiting and self.queue.core.cancel(id):
            self.queue.owners.pop(id)
            self._leave(id).rejected = "late"

    def _weigh(self, request: Request) -> Weighing:
        names = [name for name in self._replicas if self.health.available(name)] or list(self._replicas)
        trials = [self.health.trial_cost(name) for name in names]
        return weigh(
            names,
            [self._slots] * len(names),
            [self.vitals.of(name) for name in names],
            request.prompt_tokens,
            Prefix(request.blocks, request.home) if request.blocks else None,
            self.index,
            trials if any(trials) else None,
            now=self.timeline.now,
        )

    def _note(self, name: str, request: Request) -> None:
        if request.blocks:
            vital = self.vitals.of(name)
            self.index.note(name, vital.generation, request.blocks, tokens=vital.cache_tokens)

    def _send(self, ticket: Ticket, request: Request, name: str) -> None:
        timeline, core = self.timeline, self.queue.core
        uncached = next(each.uncached_tokens for each in ticket.replicas if each.id == name)
        vital = self.vitals.of(name)
        sent = last = timeline.now
        first = True
        request.replica = name
        vital.begin(sent, stream=True, tokens=uncached, slots=self._slots)
        self._note(name, request)

        def on_tokens(count: int) -> None:
            nonlocal first, last
            now = timeline.now
            core.charge(ticket.id, count)
            if first:
                first = False
                vital.note_first(now, now - sent)
                vital.note_prefill(uncached, now - sent)
                # Its prompt is read: there is room for another one.
                if core.waiting:
                    self.queue.give_out()
            else:
                vital.note_pace(now, count, now - last)
            last = now

        def on_end(_: bool) -> None:
            vital.end(stream=True)
            core.release(ticket.id, self.queue.now_ms)
            self.queue.give_out()

        self._replicas[name].submit(Sequence(request, on_tokens, on_end))

    def _look(self) -> None:
        """What the watch does once a second: read the metrics, judge the replicas."""
        now = self.timeline.now
        for name, replica in self._replicas.items():
            if self.sees_load:
                load = ReplicaLoad(
                    running=replica.running,
                    waiting=len(replica.waiting),
                    kv_usage=replica.kv_usage,
                    made_tokens=replica.made_tokens,
                    prompt_tokens=replica.prompt_tokens,
                    cache_tokens=replica.profile.blocks * BLOCK,
                )
                self.vitals.of(name).note_load(now, load)
            else:
                self.vitals.of(name).stand(now)
        watched = [
            Watched(name, self.vitals.of(name), self.health.available(name)) for name in self._replicas
        ]
        for verdict in judge(watched, now):
            self.health.leave_alone(verdict.id, verdict.reason)
            self.left_alone.append((now, verdict.id, verdict.reason))
