"""The queue of a pool by itself, driven by a simulated clock: bands, fairness, bounds, work conservation."""

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.balancing import is_open
from routing.bands import BANDS, LINES, OVERDUE_SHARE
from routing.fairness import READ_WEIGHT, UNITS, WRITE_WEIGHT
from routing.headroom import BACKLOG, is_wide
from routing.queueing import PoolQueue
from routing.reckoning import QueueBounds, Refusal, Refused, Shed
from routing.types import ReplicaSlots, Ticket
from tenants.types import PriorityClass

CRITICAL, INTERACTIVE, STANDARD, BATCH = PriorityClass
WIDE = QueueBounds.of(1_000_000)


def ticket(
    id: str,
    *,
    tenant: str = "t",
    user: str = "",
    priority: PriorityClass = STANDARD,
    weight: int = 1,
    prompt: int = 100,
    wait_s: float = 60.0,
    replicas: tuple[tuple[str, int], ...] = (("a", 1),),
) -> Ticket:
    slots = tuple(ReplicaSlots(name, size, uncached_tokens=prompt) for name, size in replicas)
    return Ticket(id, "pool", tenant, priority, slots, prompt, 100, wait_s, user=user, weight=weight)


def full(bounds: QueueBounds = WIDE) -> PoolQueue:
    """A queue whose only slot is held by `held`."""
    queue = PoolQueue(bounds)
    assert queue.take(ticket("held", tenant="nobody"), 0) == "a"
    return queue


def drain(queue: PoolQueue, held: str = "held", now: float = 0.0, each_ms: float = 1.0) -> list[str]:
    """Let every call end at once; the order in which those who wait are served."""
    order: list[str] = []
    while held:
        now += each_ms
        queue.release(held, now)
        granted = queue.grant(now)
        order += [grant.ticket.id for grant in granted]
        held = granted[0].ticket.id if granted else ""
    return order


def test_the_most_urgent_goes_first_and_a_class_is_first_come_first_served_for_one_user() -> None:
    queue = full()
    for number, priority in enumerate((BATCH, STANDARD, INTERACTIVE, CRITICAL) * 2):
        assert queue.enqueue(ticket(f"{priority}{number}", priority=priority), 0) is None
    assert drain(queue) == [
        "critical3", "critical7", "interactive2", "interactive6", "standard1", "standard5", "batch0", "batch4",
    ]  # fmt: skip


def test_tenants_take_turns_by_what_they_use_not_by_how_much_they_ask() -> None:
    queue = full()
    for number in range(20):
        queue.enqueue(ticket(f"loud{number}", tenant="loud"), 0)
    for number in range(5):
        queue.enqueue(ticket(f"quiet{number}", tenant="quiet"), 0)
    order = drain(queue)
    assert sum(name.startswith("quiet") for name in order[:10]) == 5


def test_a_tenant_of_twice_the_weight_is_served_twice_as_often() -> None:
    queue = full()
    for number in range(40):
        queue.enqueue(ticket(f"a{number}", tenant="a", weight=2), 0)
        queue.enqueue(ticket(f"b{number}", tenant="b"), 0)
    served = Counter(name[0] for name in drain(queue)[:30])
    assert served == {"a": 20, "b": 10}


def test_users_share_what_their_tenant_gets() -> None:
    queue = full()
    for number in range(20):
        queue.enqueue(ticket(f"anna{number}", user="anna"), 0)
    for number in range(3):
        queue.enqueue(ticket(f"ben{number}", user="ben"), 0)
    order = drain(queue)
    assert sum(name.startswith("ben") for name in order[:6]) == 3
    assert [name for name in order if name.startswith("anna")] == [f"anna{number}" for number in range(20)]


def test_who_was_away_has_not_saved_up_for_it() -> None:
    queue = full()
    for number in range(30):
        queue.enqueue(ticket(f"stays{number}", tenant="stays"), 0)
    held = "held"
    for now in range(20):
        queue.release(held, now)
        held = queue.grant(now)[0].ticket.id
    for number in range(10):
        queue.enqueue(ticket(f"back{number}", tenant="back"), 20)
    order = drain(queue, held, 20)
    assert sum(name.startswith("back") for name in order[:10]) == 5


def test_tokens_are_charged_as_they_are_written_and_corrected_in_the_end() -> None:
    queue = full()
    rank = STANDARD.rank
    queue.enqueue(ticket("one", weight=2), 0)
    queue.release("held", 1)
    queue.grant(1)
    base = 100 * READ_WEIGHT * UNITS
    assert queue.used(rank)["t"] == base + 100 * READ_WEIGHT * UNITS // 2
    queue.charge("one", 10)
    queue.charge("one", -2, read=-20)
    after = base + (80 * READ_WEIGHT + 8 * WRITE_WEIGHT) * UNITS // 2
    assert queue.used(rank)["t"] == after
    queue.release("one", 2)
    queue.charge("one", 1000)
    assert queue.used(rank)["t"] == after


def test_a_call_that_came_to_nothing_costs_nothing() -> None:
    queue = full()
    before = queue.used(STANDARD.rank)["nobody"]
    assert before > 0
    queue.release("held", 1, unused=True)
    assert queue.used(STANDARD.rank)["nobody"] == 0


def test_a_correction_brings_a_tenant_forward_at_once() -> None:
    queue = PoolQueue(WIDE)
    two = (("a", 2),)
    queue.take(ticket("x", tenant="x", prompt=1000, replicas=two), 0)
    queue.take(ticket("y", tenant="y", prompt=500, replicas=two), 0)
    queue.enqueue(ticket("x1", tenant="x", replicas=two), 0)
    queue.enqueue(ticket("y1", tenant="y", replicas=two), 0)
    queue.charge("x", 0, read=-990)
    queue.release("y", 1)
    assert [grant.ticket.id for grant in queue.grant(1)] == ["x1"]


def test_nothing_starves_and_the_first_class_keeps_its_share() -> None:
    """Critical calls come without end: the others get what is reserved for them."""
    queue = full()
    for number in range(1000):
        for priority in PriorityClass:
            queue.enqueue(ticket(f"{priority}{number}", priority=priority), 0)
    # So fast that nothing is overdue.
    served = Counter(name.rstrip("0123456789") for name in drain(queue, each_ms=0.001)[:1000])
    for priority in (INTERACTIVE, STANDARD, BATCH):
        share = BANDS[priority.rank].share
        assert share - LINES <= served[priority] <= share + LINES
    assert served[CRITICAL] >= 1000 - sum(rule.share for rule in BANDS) - LINES


@pytest.mark.parametrize("seed", range(2))
def test_the_longest_wait_is_bounded(seed: int) -> None:
    """docs/architecture.md: no wait is longer than A + (N + 1 + LINES) / (share of the overdue · grants a second).

    N are those who waited when it came. The pool is asked for twice what it can, most of it critical.
    """
    dice = random.Random(seed)
    queue = full(QueueBounds(10_000, (40,) * 4, 10_000))
    held, now, number = "held", 0.0, 0
    ahead: dict[str, tuple[float, int, PriorityClass]] = {}
    longest: Counter[PriorityClass] = Counter()
    for _ in range(4000):
        now += 100.0
        queue.release(held, now)
        for grant in queue.grant(now):
            held = grant.ticket.id
            at, found, kind = ahead.pop(held)
            bound = BANDS[kind.rank].overdue_ms + (found + 1 + LINES) * 100.0 * 1000 / OVERDUE_SHARE
            assert now - at <= bound
            longest[kind] = max(longest[kind], round(now - at))
        for _ in range(2):
            number += 1
            kind = dice.choices(list(PriorityClass), (8, 4, 2, 1))[0]
            waiting = queue.waiting
            asked = ticket(f"{number}", priority=kind, tenant=f"t{dice.randrange(5)}", wait_s=1e9)
            outcome = queue.enqueue(asked, now)
            if isinstance(outcome, Shed):
                del ahead[outcome.id]
            if not isinstance(outcome, Refused):
                ahead[asked.id] = (now, waiting, kind)
    # The lower classes did wait until they were overdue.
    assert longest[BATCH] > BANDS[BATCH.rank].overdue_ms
    assert longest[STANDARD] > BANDS[STANDARD.rank].overdue_ms


def test_the_services_of_tenants_that_wait_all_the_time_stay_close() -> None:
    """|W_u - W_v| <= 2 · max(w_in · L, w_out · M) over any interval (VTC), M being the tokens in flight."""
    dice = random.Random(5)
    slots, longest_prompt, longest_answer = 4, 400, 300
    queue = PoolQueue(WIDE)
    spread = (("a", slots),)
    service: Counter[str] = Counter()
    running: list[tuple[int, str, str, int]] = []
    number = 0

    def ask(tenant: str) -> None:
        nonlocal number
        number += 1
        prompt = dice.randint(1, longest_prompt if tenant == "big" else 20)
        queue.enqueue(ticket(str(number), tenant=tenant, prompt=prompt, replicas=spread), 0)

    for index in range(slots):
        queue.take(ticket(f"first{index}", tenant="other", replicas=spread), 0)
    for tenant in ("big", "small", "other"):
        for _ in range(40):
            ask(tenant)
    for index in range(slots):
        queue.release(f"first{index}", 0)
    gaps: list[int] = []
    for now in range(20_000):
        for grant in queue.grant(now):
            tenant = grant.ticket.tenant
            answer = dice.randint(1, longest_answer if tenant == "big" else 30)
            service[tenant] += READ_WEIGHT * grant.ticket.prompt_tokens
            heapq.heappush(running, (now + answer, grant.ticket.id, tenant, answer))
            ask(tenant)
        for _, id, tenant, _ in running:
            queue.charge(id, 1)
            service[tenant] += WRITE_WEIGHT
        while running and running[0][0] <= now:
            queue.release(heapq.heappop(running)[1], now)
        gaps.append(service["big"] - service["small"])
    bound = 2 * max(READ_WEIGHT * longest_prompt, WRITE_WEIGHT * slots * (longest_prompt + longest_answer))
    assert max(gaps) - min(gaps) <= bound
    assert min(service.values()) > 5 * bound


def test_bounds_of_the_queue_of_a_tenant_and_of_a_class() -> None:
    queue = full(QueueBounds(total=6, classes=(6, 6, 6, 2), tenant=3))
    for number in range(3):
        assert queue.enqueue(ticket(f"a{number}", tenant="a"), 0) is None
    refused = queue.enqueue(ticket("a3", tenant="a"), 0)
    assert isinstance(refused, Refused)
    assert refused.why is Refusal.SHARE
    for number in range(2):
        assert queue.enqueue(ticket(f"b{number}", tenant="b", priority=BATCH), 0) is None
    refused = queue.enqueue(ticket("c", tenant="c", priority=BATCH), 0)
    assert isinstance(refused, Refused)
    assert refused.why is Refusal.FULL
    assert queue.waiting == 5


def test_a_full_queue_sheds_the_newest_of_the_lowest_class_for_a_more_urgent_one() -> None:
    queue = full(QueueBounds(total=3, classes=(3,) * 4, tenant=3))
    for name, priority in (("b1", BATCH), ("b2", BATCH), ("s", STANDARD)):
        assert queue.enqueue(ticket(name, tenant=name, priority=priority), 0) is None
    outcome = queue.enqueue(ticket("c1", priority=CRITICAL), 0)
    assert isinstance(outcome, Shed)
    assert outcome.id == "b2"
    outcome = queue.enqueue(ticket("s2", priority=STANDARD, tenant="u"), 0)
    assert isinstance(outcome, Shed)
    assert outcome.id == "b1"
    refused = queue.enqueue(ticket("s3", priority=STANDARD, tenant="v"), 0)
    assert isinstance(refused, Refused)
    assert refused.why is Refusal.FULL
    assert drain(queue) == ["c1", "s", "s2"]


def test_a_tenant_whose_part_is_full_sheds_its_own_for_a_more_urgent_one() -> None:
    queue = full(QueueBounds(total=10, classes=(10,) * 4, tenant=3))
    queue.enqueue(ticket("other", tenant="other", priority=BATCH), 0)
    for number in range(3):
        queue.enqueue(ticket(f"b{number}", priority=BATCH), 0)
    outcome = queue.enqueue(ticket("c", priority=CRITICAL), 0)
    assert isinstance(outcome, Shed)
    assert outcome.id == "b2"
    assert queue.waiting == 4


def test_who_would_come_too_late_is_refused_at_once_with_an_honest_time() -> None:
    queue = full()
    for number in range(20):
        assert queue.enqueue(ticket(f"w{number}"), 0) is None
    held, now = "held", 0.0
    for _ in range(8):
        now += 1000
        queue.release(held, now)
        held = queue.grant(now)[0].ticket.id
    # 12 wait and one a second is served: the next one's turn is in 13 seconds.
    refused = queue.enqueue(ticket("late", wait_s=10), now)
    assert isinstance(refused, Refused)
    assert refused.why is Refusal.LATE
    assert refused.retry_ms == pytest.approx(3000, rel=0.01)
    assert queue.enqueue(ticket("patient", wait_s=14), now) is None
    place = queue.place("patient", now)
    assert place is not None
    assert place.position == 13
    assert place.expected_wait_s == pytest.approx(13.0, rel=0.01)


def test_nobody_is_refused_for_lateness_before_anything_was_measured() -> None:
    queue = full()
    for number in range(100):
        assert queue.enqueue(ticket(f"w{number}", wait_s=0.1), 0) is None
    place = queue.place("w4", 0)
    assert place is not None
    assert (place.position, place.expected_wait_s) == (5, None)


def test_a_place_counts_higher_classes_and_the_turns_of_other_tenants() -> None:
    queue = full()
    for number in range(3):
        queue.enqueue(ticket(f"c{number}", priority=CRITICAL), 0)
    for number in range(10):
        queue.enqueue(ticket(f"loud{number}", tenant="loud"), 0)
    queue.enqueue(ticket("quiet", tenant="quiet"), 0)
    place = queue.place("quiet", 0)
    assert place is not None
    assert place.position == 3 + 2
    queue.cancel("c0")
    place = queue.place("quiet", 0)
    assert place is not None
    assert place.position == 2 + 2
    assert queue.place("c0", 0) is None


@dataclass
class Model:
    """What any queue must keep, whatever happens."""

    queue: PoolQueue = field(default_factory=lambda: PoolQueue(QueueBounds(30, (30, 30, 25, 15), 20)))
    waiting: dict[str, Ticket] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    tickets: dict[str, Ticket] = field(default_factory=dict)
    in_flight: Counter[str] = field(default_factory=Counter)
    now: float = 0.0

    def grant(self) -> None:
        for grant in self.queue.grant(self.now):
            self.hold(self.waiting.pop(grant.ticket.id), grant.replica)

    def hold(self, asked: Ticket, replica: str) -> None:
        assert asked.id not in self.held
        self.held[asked.id] = replica
        self.tickets[asked.id] = asked
        size = next(each.max_concurrency for each in asked.replicas if each.id == replica)
        assert sum(name == replica for name in self.held.values()) <= size

    def check(self) -> None:
        """Nobody waits for a replica that is open, who has not had enough of it; and the books agree."""
        snapshot = self.queue.snapshot("pool")
        assert dict(snapshot.running) == dict(Counter(self.held.values()))
        assert snapshot.waiting == len(self.waiting) == sum(snapshot.waiting_by_class.values())
        assert all(tokens >= 0 for tokens in snapshot.in_flight.values())
        for each in self.waiting.values():
            for replica in each.replicas:
                load = snapshot.running.get(replica.id, 0), snapshot.in_flight.get(replica.id, 0)
                if is_open(replica, *load):
                    assert not is_wide(replica, *load)
                    assert self.has_enough(each, replica)
            place = self.queue.place(each.id, self.now)
            assert place is not None
            assert 1 <= place.position <= len(self.waiting)

    def has_enough(self, asked: Ticket, replica: ReplicaSlots) -> bool:
        """Reckoned anew from who holds what: the class has its share beside more urgent ones, or the tenant its part."""
        there = [self.tickets[id] for id, name in self.held.items() if name == replica.id]
        rank, slots = asked.priority.rank, replica.max_concurrency
        own = [each for each in there if each.priority.rank == rank]
        if any(each.priority.rank < rank for each in there) and 1000 * len(own) >= slots * BANDS[rank].share:
            return True
        weights = {each.tenant: each.weight for each in own}
        waiting = Counter(each.tenant for each in self.waiting.values() if each.priority.rank == rank)
        count = sum(each.tenant == asked.tenant for each in own)
        part = count * sum(weights.values()) >= weights.get(asked.tenant, 0) * slots
        others = [name for name in weights if name != asked.tenant and not waiting[name]]
        return count > 0 and bool(others) and (part or waiting[asked.tenant] >= BACKLOG)


SETS = (("a",), ("b",), ("a", "b"), ("a", "b", "c"), ("d",))
SLOTS = {"a": 2, "b": 3, "c": 1, "d": 8}
STEP = st.tuples(st.sampled_from("ttttrrrcxfw"), st.integers(0, 10_000))


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEP, max_size=120))
def test_no_usable_slot_is_idle_while_somebody_waits(steps: list[tuple[str, int]]) -> None:
    """Arrivals, cancels, releases, charges and failed replicas in any order."""
    model = Model()
    queue = model.queue
    for number, (step, pick) in enumerate(steps):
        model.now += pick % 97
        held, waiting = sorted(model.held), sorted(model.waiting)
        if step == "t":
            replicas = tuple(
                ReplicaSlots(name, SLOTS[name], uncached_tokens=pick % 500, token_budget=(0, 300)[pick % 2])
                for name in SETS[pick % 5]
            )
            asked = Ticket(
                f"{number:03}", "pool", f"t{pick % 3}", list(PriorityClass)[pick % 5 % 4], replicas, 10, 10,
                1 + pick % 50, user=f"u{pick % 2}", weight=1 + pick % 3,
            )  # fmt: skip
            taken = queue.take(asked, model.now)
            if taken is not None:
                model.hold(asked, taken)
            else:
                outcome = queue.enqueue(asked, model.now)
                if isinstance(outcome, Shed):
                    assert model.waiting.pop(outcome.id).priority.rank > asked.priority.rank
                if not isinstance(outcome, Refused):
                    model.waiting[asked.id] = asked
        elif step in "rf" and held:
            # A call ends; or its replica failed, and it never began.
            id = held[pick % len(held)]
            assert queue.release(id, model.now, unused=step == "f")
            assert not queue.release(id, model.now)
            del model.held[id]
        elif step == "w" and held:
            queue.charge(held[pick % len(held)], pick % 64, read=pick % 7 - 3)
        elif step == "c" and waiting:
            id = waiting[pick % len(waiting)]
            assert queue.cancel(id)
            del model.waiting[id]
        elif step == "x":
            assert not queue.cancel("unknown")
        model.grant()
        model.check()
    while model.held:
        model.now += 1
        queue.release(model.held.popitem()[0], model.now)
        model.grant()
        model.check()
    assert queue.idle


def test_counters_that_say_nothing_are_forgotten() -> None:
    queue = PoolQueue(WIDE)
    for number in range(30_000):
        queue.take(ticket(f"{number}", tenant=f"tenant-{number}", prompt=1), number)
        queue.release(f"{number}", number)
    assert len(queue.used(STANDARD.rank)) <= 10_001


def test_a_queue_that_is_over_says_nothing_of_the_next_one() -> None:
    """A class that once waited and was served is not taken for stalled an hour later."""
    queue = full()
    for number in range(6):
        queue.enqueue(ticket(str(number)), 0)
    assert len(drain(queue, each_ms=100)) == 6
    later = 3_600_000.0
    assert queue.take(ticket("again"), later) == "a"
    assert queue.enqueue(ticket("waits"), later) is None


def test_calls_that_began_at_once_and_end_at_once_are_no_stall() -> None:
    """As in a replica that was just started: a crowd is served, and nothing is granted until it has been."""
    queue = PoolQueue(WIDE)
    replicas = (("a", 8),)
    crowd = [ticket(f"c{number}", replicas=replicas) for number in range(8)]
    for each in crowd:
        queue.take(each, 0)
    for number in range(28):
        queue.enqueue(ticket(f"w{number}", replicas=replicas), 0)
    for each in crowd:
        queue.release(each.id, 10_000)
    assert len(queue.grant(10_000)) == 8
    # 9.9 s after the last grant: calls take 10 s.
    assert queue.enqueue(ticket("late?", replicas=replicas), 19_900) is None
    # Nothing for half a minute is another matter.
    refused = queue.enqueue(ticket("late", replicas=replicas), 40_000)
    assert isinstance(refused, Refused)
    assert refused.why is Refusal.LATE
