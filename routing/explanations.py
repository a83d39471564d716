"""What is told of where a call would go."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from routing.choice_types import CachingInForce, Task
from routing.choosing import By, Passed
from routing.examples import Likeness
from routing.types import Terms
from tenants.types import PriorityClass


class ReplicaStanding(StrEnum):
    """How a replica stands to a call: it goes there; it could; all slots are taken; it is not to be used."""

    CHOSEN = "chosen"
    OPEN = "open"
    FULL = "full"
    OUT = "out"
    LEFT_ALONE = "left_alone"


@dataclass(frozen=True, slots=True)
class ReplicaExplained:
    """One replica for one call. `ahead_s` is the reading of the `tokens_in_flight` before it; `cost_s` all of it.

    `why` says why it is not to be used. `speed_learned` is False while its speed is only supposed.
    """

    id: str
    region: str
    standing: ReplicaStanding
    why: str
    running: int
    max_concurrency: int
    tokens_in_flight: int
    terms: Terms
    ahead_s: float
    cost_s: float
    speed_learned: bool


@dataclass(frozen=True, slots=True)
class CandidateExplained:
    """One pool that may answer. `chosen` is the replica that the call would go to, empty when it would wait."""

    model: str
    pool: str
    reason: str
    chosen: str
    waiting: int
    expected_wait_s: float | None
    replicas: Sequence[ReplicaExplained]


@dataclass(frozen=True, slots=True)
class ChoiceExplained:
    """What decided the order of the candidates, and what was looked at.

    `rule` is the one that decided, `passed` those before it. `complexity` is told whether or not it decided; `threshold`
    only where it did, and `likeness` where examples were asked too. `said_by` is whose word decided: `tenant`, `platform` or
    `nobody`.
    """

    by: By
    rule: str
    tier: str
    task: Task
    complexity: float
    threshold: float | None
    heavy_percent: int | None
    passed: Sequence[Passed]
    said_by: str
    likeness: Likeness | None


@dataclass(frozen=True, slots=True)
class CascadeExplained:
    """A call that is answered in two steps. `below` is the confidence below which `heavy` is asked, as it is now."""

    light: str
    heavy: str
    tokens: int
    below: float
    escalate_percent: int | None


@dataclass(frozen=True, slots=True)
class Explained:
    """Where a call would go. `candidates` in the order they are tried; `left_out` are models and why they are not.

    `expected_wait_s` is None when it is not known, `longest_wait_s` after how long the call would be refused.
    """

    model: str
    prompt_tokens: int
    prefix_blocks: int
    priority: PriorityClass
    longest_wait_s: float
    chosen: str
    expected_wait_s: float | None
    candidates: Sequence[CandidateExplained]
    left_out: Sequence[tuple[str, str]]
    choice: ChoiceExplained
    caching: CachingInForce
    cascade: CascadeExplained | None
