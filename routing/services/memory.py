"""What one process remembers of where its calls went: a live instance behind `kernel.backends`."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.streams import Supervisor
from routing.budget import RetryBudget
from routing.cascade import DOUBTS_SUPPOSED
from routing.complexity import load_model
from routing.examples import AskedVectors
from routing.prefixes import PrefixIndex
from routing.shares import Shares

log = structlog.get_logger(__name__)
# Tasks for one process; each is over at once, or after one exchange with Redis.
MOST_TASKS = 10_000


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
        self.doubts = Shares(DOUBTS_SUPPOSED)
        self.asked = AskedVectors()
        self.budget = RetryBudget()
        self.figures = Figures()
        self.prefixes = PrefixIndex()
        self.chance = chance
        self._background = Supervisor(limit=MOST_TASKS, on_error=_report)

    def later(
        self, seconds: float, name: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.TimerHandle:
        """Do `work` in the background after `seconds`, unless it is cancelled before. At the limit it is left undone."""
        return asyncio.get_running_loop().call_later(seconds, self._start, name, work)

    async def close(self) -> None:
        """End what is under way."""
        await self._background.close()

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if len(self._background) < MOST_TASKS:
            self._background.start(name, work())


def _report(name: str, error: BaseException) -> None:
    log.error("routing_task_failed", work=name, error=str(error))
