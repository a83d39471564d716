"""Virtual time: things happen in order of their time, and none takes any."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Timeline:
    """What will happen, the earliest first; of equals, what was planned first. Seconds."""

    def __init__(self) -> None:
        """It is zero o'clock and nothing is planned."""
        self.now = 0.0
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._watching = 0

    def at(self, time: float, act: Callable[[], None]) -> None:
        """Plan `act` for `time`; what is past happens next."""
        self._count += 1
        heapq.heappush(self._planned, (time, self._count, act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Plan `act` for in so many seconds."""
        self.at(self.now + seconds, act)

    def every(self, seconds: float, act: Callable[[], None]) -> None:
        """Do `act` again and again; it keeps nothing from ending."""

        def again() -> None:
            self._watching -= 1
            act()
            plan()

        def plan() -> None:
            self._watching += 1
            self.after(seconds, again)

        plan()

    def run(self, until: float = float("inf")) -> None:
        """Let everything happen that is planned until then, and what that plans, until only repeated acts are left."""
        planned = self._planned
        while len(planned) > self._watching and planned[0][0] <= until:
            time, _, act = heapq.heappop(planned)
            if time > self.now:
                self.now = time
            act()


class VirtualClock:
    """The timeline as the policies of Atrium want a clock."""

    def __init__(self, timeline: Timeline) -> None:
        """Its zero o'clock is the beginning of 2026."""
        self._timeline = timeline

    def now(self) -> datetime:
        """The time of day."""
        return _BEGIN + timedelta(seconds=self._timeline.now)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._timeline.now
