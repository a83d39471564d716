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
        memory.prefixes.note(replica.id, vital_of(replica.id).generation, prefix.chain)
