"""Time as a port: code asks a Clock, tests give a frozen one."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the time is. `now` is aware UTC; `monotonic` is seconds that never go back."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back; only differences mean something."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)

    # Without a call in between: every look into a cache asks.
    monotonic = staticmethod(time.monotonic)


SYSTEM_CLOCK: Clock = SystemClock()


def unix_ms(clock: Clock) -> int:
    """Whole milliseconds since the epoch by `clock`; of the machine's own without a datetime, which costs ten times."""
    if clock is SYSTEM_CLOCK:
        return time.time_ns() // 1_000_000
    return int(clock.now().timestamp() * 1000)
