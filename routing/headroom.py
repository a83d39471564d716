"""What is kept free on a replica for those who use little of it. Pure.

A tenant that floods, or a batch, would fill every slot of a replica and have its prompts read one after the other; who
comes then waits for a slot to end and for all of that reading, whatever its class and its share. So two things are kept
from those who have had enough: the last slots of a replica (one in `KEPT`), and reading ahead, which is that a prompt is
sent while another one there is still unread.

Enough of a replica has had

- a class, while more urgent calls are there and it has its reserved share of the slots there (`bands.RULES`);
- a tenant that has calls of a class there, while another tenant has some there too and none that wait: when its calls
  are no fewer than its part of all slots, by weight, among the tenants that have calls of this class there, or when
  `BACKLOG` of its calls wait.

Where all tenants of a class wait, nothing is kept: whose turn it is, is fairness's alone. Those that have a backlog beside
one that does not wait are kept back alike, so that among them it is, too. Nobody starves by it: it holds only for who has
calls there, and one slot after the other becomes free below the kept ones. A tenant that is alone on a replica, with no
more urgent class beside it, may use the whole of it.
"""

from collections.abc import Mapping

from routing.bands import BANDS, WHOLE
from routing.types import ReplicaSlots

# One slot in so many is kept; replicas with fewer slots keep none.
KEPT = 8
# A tenant with so many calls that wait floods, for now.
BACKLOG = 4


def is_wide(replica: ReplicaSlots, running: int, in_flight: int) -> bool:
    """Whether an open replica is so for everybody: more than the kept slots are free, and nothing is unread there.

    Where reading is not bounded (`token_budget` 0), what is unread is not known well enough to matter.
    """
    most = replica.max_concurrency
    return running < most - most // KEPT and not (in_flight and replica.token_budget)


class Holders:
    """The calls of one replica, by class and tenant."""

    __slots__ = ("_calls", "_tenants", "_weight")

    def __init__(self) -> None:
        """There are none."""
        self._calls = [0] * len(BANDS)
        # Tenant → its calls, and its weight.
        self._tenants: list[dict[str, tuple[int, int]]] = [{} for _ in BANDS]
        self._weight = [0] * len(BANDS)

    def join(self, rank: int, tenant: str, weight: int) -> None:
        """One more call of a tenant is there."""
        count, before = self._tenants[rank].get(tenant, (0, 0))
        self._tenants[rank][tenant] = count + 1, weight
        self._calls[rank] += 1
        self._weight[rank] += weight - before

    def leave(self, rank: int, tenant: str) -> None:
        """A call of a tenant is there no longer."""
        count, weight = self._tenants[rank][tenant]
        self._calls[rank] -= 1
        if count > 1:
            self._tenants[rank][tenant] = count - 1, weight
        else:
            del self._tenants[rank][tenant]
            self._weight[rank] -= weight

    def has_enough(self, rank: int, tenant: str, slots: int, waiting: Mapping[str, int]) -> bool:
        """Whether the class or the tenant has had enough of the `slots` of the replica.

        `waiting` are the class's tenants that have calls waiting for the pool, and how many.
        """
        if self.class_has_enough(rank, slots):
            return True
        there = self._tenants[rank]
        count, weight = there.get(tenant, (0, 0))
        if not count:
            return False
        if count * self._weight[rank] < weight * slots and waiting.get(tenant, 0) < BACKLOG:
            return False
        return any(name != tenant and name not in waiting for name in there)

    def class_has_enough(self, rank: int, slots: int) -> bool:
        """Whether nobody's call of the class may come, whoever else does."""
        calls = self._calls
        return calls[rank] * WHOLE >= slots * BANDS[rank].share and any(calls[:rank])

    def with_enough(self, rank: int, slots: int, waiting: Mapping[str, int]) -> set[str]:
        """Of those who wait, the tenants that have had enough though their class has not: `has_enough` of all at once."""
        there = self._tenants[rank]
        if there.keys() <= waiting.keys():
            return set()
        total = self._weight[rank]
        return {
            name
            for name, (count, weight) in there.items()
            if (backlog := waiting.get(name, 0)) and (backlog >= BACKLOG or count * total >= weight * slots)
        }
