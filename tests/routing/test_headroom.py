"""What is kept free on a replica: for whom, from whom, and that it is given out when nobody else is there."""

import random

from routing.fairness import Order
from routing.headroom import Holders
from routing.queueing import PoolQueue
from routing.reckoning import QueueBounds
from routing.types import ReplicaSlots, Ticket
from tenants.types import PriorityClass

CRITICAL, INTERACTIVE, STANDARD, BATCH = PriorityClass
SLOTS = 16


def ticket(
    id: str, tenant: str, priority: PriorityClass = STANDARD, *, tokens: int = 0, weight: int = 1
) -> Ticket:
    replica = ReplicaSlots("a", SLOTS, uncached_tokens=tokens, token_budget=1000)
    return Ticket(id, "pool", tenant, priority, (replica,), tokens, 10, 1e9, weight=weight)


def taken(queue: PoolQueue, tenant: str, count: int, priority: PriorityClass = STANDARD) -> int:
    """How many of `count` calls are given a slot at once; the others wait."""
    found = 0
    for number in range(count):
        asked = ticket(f"{tenant}{priority}{number}", tenant, priority)
        if queue.take(asked, 0) is None:
            queue.enqueue(asked, 0)
        else:
            found += 1
    return found


def pool() -> PoolQueue:
    return PoolQueue(QueueBounds.of(10_000))


def test_who_is_alone_has_all_slots() -> None:
    assert taken(pool(), "loud", 20) == SLOTS


def test_beside_another_tenant_the_last_slots_are_kept_for_it() -> None:
    queue = pool()
    assert taken(queue, "quiet", 1) == 1
    assert taken(queue, "loud", 20) == SLOTS - 2 - 1
    # There is one at once for whoever has less than its part, though others wait.
    assert queue.take(ticket("more", "quiet"), 0) == "a"
    assert queue.take(ticket("new", "third"), 0) == "a"
    assert queue.take(ticket("full", "third"), 0) is None


def test_what_was_kept_is_given_out_when_nobody_else_is_there_any_more() -> None:
    queue = pool()
    taken(queue, "quiet", 1)
    taken(queue, "loud", 20)
    assert queue.grant(1) == []
    queue.release("quietstandard0", 1)
    assert len(queue.grant(1)) == 3


def test_a_tenant_of_more_weight_has_a_larger_part() -> None:
    holders = Holders()
    holders.join(STANDARD.rank, "small", 1)
    for count in range(1, 15):
        holders.join(STANDARD.rank, "large", 3)
        assert holders.has_enough(STANDARD.rank, "large", SLOTS, {}) == (count >= 12)
    holders.leave(STANDARD.rank, "small")
    assert not holders.has_enough(STANDARD.rank, "large", SLOTS, {})


def test_of_one_tenant_too_a_batch_leaves_room_for_its_urgent_calls() -> None:
    queue = pool()
    assert taken(queue, "t", 1, INTERACTIVE) == 1
    assert taken(queue, "t", 20, BATCH) == SLOTS - 2 - 1
    assert taken(queue, "t", 3, INTERACTIVE) == 2


def test_a_class_always_has_its_reserved_share() -> None:
    queue = pool()
    assert taken(queue, "t", 15, INTERACTIVE) == 15
    # A fiftieth of sixteen slots is one call.
    assert taken(queue, "t", 2, BATCH) == 1


def test_who_has_enough_sends_no_prompt_where_one_is_unread() -> None:
    queue = pool()
    taken(queue, "quiet", 1)
    taken(queue, "loud", 8)
    assert queue.take(ticket("long", "quiet", tokens=100), 0) == "a"
    loud = ticket("loud-long", "loud", tokens=100)
    assert queue.take(loud, 0) is None
    queue.enqueue(loud, 0)
    assert queue.take(ticket("other", "quiet", tokens=100), 0) == "a"
    queue.charge("long", 0)
    assert queue.grant(1) == []
    queue.charge("other", 0)
    assert [grant.ticket.id for grant in queue.grant(1)] == ["loud-long"]


def test_others_behind_one_who_has_enough_are_not_held_up() -> None:
    queue = pool()
    taken(queue, "quiet", 1)
    taken(queue, "loud", 20)
    for number in range(2):
        assert queue.take(ticket(f"q{number}", "quiet"), 0) == "a"
    # All are in use. Behind `loud`, which waits and has used less, `third` waits.
    queue.charge("quietstandard0", 1000)
    queue.enqueue(ticket("third", "third"), 0)
    queue.release("q0", 1)
    assert [grant.ticket.id for grant in queue.grant(1)] == ["third"]


def test_where_all_wait_nothing_is_kept() -> None:
    queue = pool()
    taken(queue, "one", 1)
    taken(queue, "two", 20)
    assert queue.take(ticket("fills", "one"), 0) == "a"
    assert queue.take(ticket("last", "one"), 0) == "a"
    # Now both wait, so whose turn it is decides.
    queue.enqueue(ticket("waits", "one"), 0)
    queue.release("twostandard0", 1)
    assert len(queue.grant(1)) == 1


def test_a_backlog_is_kept_back_below_its_part_too() -> None:
    holders = Holders()
    holders.join(STANDARD.rank, "quiet", 1)
    holders.join(STANDARD.rank, "loud", 1)
    assert not holders.has_enough(STANDARD.rank, "loud", SLOTS, {"loud": 3})
    assert holders.has_enough(STANDARD.rank, "loud", SLOTS, {"loud": 4})
    assert not holders.has_enough(STANDARD.rank, "loud", SLOTS, {"loud": 4, "quiet": 1})


def test_who_has_enough_is_the_same_for_all_at_once_as_for_each() -> None:
    dice = random.Random(1)
    names = [f"t{number}" for number in range(8)]
    some = 0
    for _ in range(500):
        holders = Holders()
        for _ in range(dice.randrange(20)):
            holders.join(STANDARD.rank, dice.choice(names), dice.choice((1, 2, 5)))
        waiting = {name: dice.randrange(1, 7) for name in dice.sample(names, dice.randrange(1, 9))}
        each = {name for name in waiting if holders.has_enough(STANDARD.rank, name, SLOTS, waiting)}
        assert holders.with_enough(STANDARD.rank, SLOTS, waiting) == each
        some += bool(each)
    assert some > 100


def test_the_first_that_is_not_kept_back_is_found_and_the_order_stays() -> None:
    used = {name: count for count, name in enumerate("abcde")}
    order = Order(used)
    for name in used:
        order.add(name)
    # Entries that lag behind.
    used["a"], used["b"] = 10, 1
    order.lowered("b")
    assert order.least_but({"b", "c"}) == (3, "d")
    assert order.least_but(set(used)) is None
    assert order.least_but(set()) == order.least() == (1, "b")
