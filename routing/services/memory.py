"""What one process remembers of where its calls went: a live instance behind `kernel.backends`."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from kernel.clock import SYSTEM_CLOCK, Clock
from routing.budget import RetryBudget
from routing.complexity import load_model
from routing.prefixes import PrefixIndex
from routing.shares import Shares


@dataclass(slots=True)
class Figures:
    """Counts since the process began, for those who measure.

    `prompt_tokens` are of prompts that could have been cached somewhere, `cached_tokens` what the chosen replica should
    have had of them.
    """

    continuations: int = 0
    continuations_failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0


class RoutingMemory:
    """One per process and event loop."""

    def __init__(self, *, chance: Callable[[], float] = random.random, clock: Clock = SYSTEM_CLOCK) -> None:
        """Nothing happened yet. `chance` gives numbers from 0 to 1, `clock` says when a rule's hours are."""
        self.clock = clock
        self.complexity = load_model()
        self.shares = Shares(self.complexity.quantiles)
        self.budget = RetryBudget()
        self.figures = Figures()
        self.prefixes = PrefixIndex()
        self.chance = chance
