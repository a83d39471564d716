"""What one process remembers of where its calls went: a live instance behind `kernel.backends`."""

from dataclasses import dataclass

from routing.budget import RetryBudget


@dataclass(slots=True)
class Figures:
    """Counts since the process began, for those who measure."""

    continuations: int = 0
    continuations_failed: int = 0


class RoutingMemory:
    """One per process and event loop."""

    def __init__(self) -> None:
        """Nothing happened yet."""
        self.budget = RetryBudget()
        self.figures = Figures()
