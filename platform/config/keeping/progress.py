"""How far a backup or a restore has come, told at most twice a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass

EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done. `total` 0 means that nobody knows."""

    name: str
    done: int
    total: int


Listener = Callable[[Step], object]


class Progress:
    """Counts within one step after the other."""

    def __init__(self, listener: Listener) -> None:
        """`listener` hears of each step, and of counts now and then. What it raises ends the work."""
        self._listener = listener
        self._step = Step("", 0, 0)
        self._told = 0.0

    def begin(self, name: str, total: int = 0) -> None:
        """The next step: its name and how many things it has."""
        self._step = Step(name, 0, total)
        self._tell()

    def seen(self, count: int) -> None:
        """So many more are done."""
        self._step = Step(self._step.name, self._step.done + count, self._step.total)
        if time.monotonic() - self._told >= EVERY_S:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._listener(self._step)
