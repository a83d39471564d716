"""Which replicas a call may go to, and what it costs there: when it comes, and again while it waits.

Replicas come and go. Who waits must find the one that joined, and must not be given one that left; so the scheduler asks
`Outlook.look` while a ticket waits (`routing.waiting`), and what it is told is decided as for a call that comes.
"""

from collections.abc import Set

from inference.services import get_model, replica_available, replicas_mark, vital_of
from inference.types import ReplicaSpec
from kernel.errors import ModelNotFound, PermissionDenied
from routing.eligibility import Candidate, in_service
from routing.limits import estimate_tokens
from routing.prefixes import Prefix
from routing.scoring import Weighing, budget_of
from routing.services.memory import RoutingMemory
from routing.services.weighing import Expectation, find_prefix, weigh_replicas
from routing.types import ModelCall, ReplicaSlots, Terms

_View = tuple[tuple[ReplicaSpec, ...], tuple[ReplicaSlots, ...], Weighing | None]


class Outlook:
    """The replicas of one candidate for one call. `wanted` are those worth going to, `prefix` is that of the call."""

    __slots__ = (
        "_avoid",
        "_call",
        "_candidate",
        "_expectation",
        "_mark",
        "_memory",
        "_seen",
        "_vllm",
        "prefix",
        "prompt_tokens",
        "wanted",
    )

    def __init__(
        self,
        call: ModelCall,
        candidate: Candidate,
        avoid: Set[str],
        memory: RoutingMemory,
        *,
        prefix: Prefix | None = None,
        vllm: bool = False,
    ) -> None:
        """Weighs them. None is `wanted` when all are to be avoided; `vllm`: only engines that take vLLM's own fields."""
        self._call, self._candidate, self._memory = call, candidate, memory
        self._avoid, self._vllm = avoid, vllm
        self._mark = replicas_mark()
        self._seen: list[_View] = []
        self._expectation: Expectation | None = None
        self.prefix = prefix
        self.prompt_tokens = estimate_tokens(call.prompt_chars)
        self.wanted: tuple[ReplicaSlots, ...] = ()
        usable = self._usable(candidate.replicas)
        if usable:
            self._weigh(usable, choice=len(candidate.replicas) > 1)

    def look(self) -> tuple[ReplicaSlots, ...] | None:
        """Those worth going to by now; None when the replicas are the same as before."""
        mark = replicas_mark()
        if mark == self._mark:
            return None
        self._mark = mark
        replicas = self._there()
        usable = self._usable(replicas)
        before = self._seen[-1][0] if self._seen else ()
        if [_facts(each) for each in usable] == [_facts(each) for each in before]:
            return None
        self.over()
        if usable:
            self._weigh(usable, choice=len(replicas) > 1)
        else:
            self._seen.append(((), (), None))
            self.wanted = ()
        return self.wanted

    def chosen(self, replica_id: str) -> tuple[ReplicaSpec, ReplicaSlots, Terms | None]:
        """A replica that was ever wanted, what the call was reckoned with there, and the terms of the choice."""
        for usable, slots, weighing in reversed(self._seen):
            for at, replica in enumerate(usable):
                if replica.id == replica_id:
                    return replica, slots[at], weighing.terms(at) if weighing is not None else None
        raise AssertionError("a slot is given of a replica that was asked for")

    def over(self) -> None:
        """The call waits no longer for what it was last told."""
        expectation, self._expectation = self._expectation, None
        if expectation is not None:
            expectation.over()

    def _there(self) -> tuple[ReplicaSpec, ...]:
        principal, candidate = self._call.principal, self._candidate
        try:
            spec = get_model(
                candidate.model.id,
                tenant_id=principal.tenant_id,
                region=principal.region,
                closed=principal.closed,
            )
        except (ModelNotFound, PermissionDenied):
            return ()
        return tuple(each for each in spec.replicas if each.pool == candidate.pool)

    def _usable(self, replicas: tuple[ReplicaSpec, ...]) -> tuple[ReplicaSpec, ...]:
        if self._avoid or self._vllm:
            replicas = tuple(
                each for each in replicas if each.id not in self._avoid and (each.vllm or not self._vllm)
            )
        return tuple(in_service(replicas, replica_available))

    def _weigh(self, usable: tuple[ReplicaSpec, ...], *, choice: bool) -> None:
        if not choice:
            slots = self.wanted = _only(usable[0], self.prompt_tokens)
            self._seen.append((usable, slots, None))
            return
        self.prefix = prefix = self.prefix or find_prefix(self._call)
        weighing = weigh_replicas(usable, self.prompt_tokens, prefix, self._memory)
        self.wanted = weighing.worth_it
        self._seen.append((usable, weighing.slots, weighing))
        if prefix is not None and weighing.waits:
            self._expectation = Expectation(weighing, prefix, self._memory)


def _only(replica: ReplicaSpec, prompt_tokens: int) -> tuple[ReplicaSlots, ...]:
    """A replica without others: there is nothing to weigh."""
    vital = vital_of(replica.id)
    budget = budget_of(vital.prefill_tps)
    slots = ReplicaSlots(
        replica.id, replica.max_concurrency, vital.speed, uncached_tokens=prompt_tokens, token_budget=budget
    )
    return (slots,)


def _facts(replica: ReplicaSpec) -> tuple[str, int]:
    return replica.id, replica.max_concurrency
