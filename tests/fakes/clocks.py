"""A clock that stands still until it is told to go on."""

from datetime import UTC, datetime, timedelta


class FrozenClock:
    """Both clocks of the port, moved together by `advance`."""

    def __init__(self, at: datetime | None = None) -> None:
        """Stands at `at`, by default at a fixed moment."""
        self._now = at or datetime(2026, 6, 1, 12, tzinfo=UTC)
        self._seconds = 1_000.0

    def now(self) -> datetime:
        """The moment it stands at."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that `advance` has added up."""
        return self._seconds

    def advance(self, step: timedelta | float) -> None:
        """Go on by `step` (seconds when it is a number)."""
        step = step if isinstance(step, timedelta) else timedelta(seconds=step)
        self._now += step
        self._seconds += step.total_seconds()
