"""How many extra attempts a process may make: a share of its calls, so that a bad hour is not doubled. Pure."""

RATIO = 0.2
# What may be tried at once after a quiet time: the calls of one replica that dies with many.
RESERVE = 50.0


class RetryBudget:
    """Each call earns a fifth of an extra attempt; the reserve bounds what can be saved up."""

    __slots__ = ("_left", "_ratio", "_reserve", "refused", "spent")

    def __init__(self, *, ratio: float = RATIO, reserve: float = RESERVE) -> None:
        """Full at first."""
        self._ratio = ratio
        self._reserve = reserve
        self._left = reserve
        self.spent = 0
        self.refused = 0

    def earn(self) -> None:
        """A call has come."""
        if self._left < self._reserve:
            self._left += self._ratio

    def take(self) -> bool:
        """Whether one more extra attempt may be made now; it counts as made."""
        if self._left < 1.0:
            self.refused += 1
            return False
        self._left -= 1.0
        self.spent += 1
        return True
