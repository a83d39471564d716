"""What a call costs on each of several replicas, by what this process has learned of them."""

import time
from collections.abc import Sequence

from inference.services import prefix_seed, trial_costs, vital_of, vitals_of
from inference.types import ReplicaSpec
from routing.prefixes import BLOCK_CHARS, Prefix, prefix_of
from routing.scoring import Weighing, weigh
from routing.services.memory import RoutingMemory
from routing.types import ModelCall, Terms

# Of a hundred calls one goes to a replica on trial as if it were trusted, so that it can show what it is worth.
EXPLORED = 0.01


def find_prefix(call: ModelCall) -> Prefix | None:
    """The chain of the call's prompt; None when it is too short to be worth a cache."""
    if call.prompt_chars < BLOCK_CHARS:
        return None
    return prefix_of(call.body, prefix_seed(call.principal.tenant_id))


def weigh_replicas(
    replicas: Sequence[ReplicaSpec], prompt_tokens: int, prefix: Prefix | None, memory: RoutingMemory
) -> Weighing:
    """What the call costs on each of the replicas, in order."""
    trials = trial_costs(replicas)
    if trials is not None and memory.chance() < EXPLORED:
        trials = None
    return weigh(
        [replica.id for replica in replicas],
        [replica.max_concurrency for replica in replicas],
        vitals_of(replicas),
        prompt_tokens,
        prefix,
        memory.prefixes,
        trials,
        now=time.perf_counter(),
    )


class Expectation:
    """A call that waits for a slot: what it will read counts for those who choose after it, until it waits no longer."""

    __slots__ = ("_index", "_prefix", "_shares")

    def __init__(self, weighing: Weighing, prefix: Prefix, memory: RoutingMemory) -> None:
        """It begins to wait."""
        wanted = weighing.worth_it
        self._shares = [
            (vital_of(each.id), each.uncached_tokens / each.prefill_tps / len(wanted)) for each in wanted
        ]
        for vital, seconds in self._shares:
            vital.queued_s += seconds
        self._index = memory.prefixes
        self._prefix = prefix if weighing.settled >= 0 else None
        if self._prefix is not None:
            replica = wanted[0].id
            self._index.expect(replica, vital_of(replica).generation, self._prefix.chain)

    def over(self) -> None:
        """It has its slot, and `note_chosen` was told; or it has given up."""
        for vital, seconds in self._shares:
            # Sums of fractions do not come out even.
            vital.queued_s = max(0.0, vital.queued_s - seconds)
        if self._prefix is not None:
            self._index.expect_no_more(self._prefix.chain)


def note_chosen(
    replica: ReplicaSpec,
    prompt_tokens: int,
    terms: Terms | None,
    prefix: Prefix | None,
    memory: RoutingMemory,
) -> None:
    """The call has a slot of the replica, which reads its prompt now."""
    figures = memory.figures
    if prefix is not None:
        figures.prompt_tokens += prompt_tokens
        figures.cached_tokens += terms.cached_tokens if terms is not None else 0
        vital = vital_of(replica.id)
        memory.prefixes.note(replica.id, vital.generation, prefix.chain, tokens=vital.cache_tokens)
