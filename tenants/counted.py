"""What the counters of one tenant hold: rates, sums, calls that run, and which of them the lines of a caller mean.

Here are no rules (`tenants.counting` has them): it is laid out for steps that walk over it with every call. What is written
with every call is a class with slots, which takes two thirds of a struct's time; what is made with every call is a struct.
"""

from dataclasses import dataclass

from msgspec import Struct

from tenants.limit_types import Claim, Line


@dataclass(slots=True)
class Sum:
    """A day or month of one line."""

    settled: int
    held: int = 0
    seeded_ms: int = 0


@dataclass(slots=True)
class Bucket:
    """A rate: the debt that it had at `at_ms`."""

    debt: int = 0
    at_ms: int = 0

    def debt_at(self, now_ms: int, limit: int) -> int:
        """The debt that is left; never below 0."""
        debt, since_ms = self.debt, now_ms - self.at_ms
        if since_ms > 0:
            debt -= limit * since_ms
        return debt if debt > 0 else 0


@dataclass(slots=True)
class Tally:
    """How many calls of a line run."""

    calls: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """Lines with the counters that they mean, kind by kind: its place among the lines, the counter, the limit; of a rate
    the greatest debt as well, which is the whole limit's.

    Calls of one caller bring the same lines, so it is looked up once and holds for `from_ms` ≤ now < `until_ms`.
    `unseeded` are the places of days and months that nobody has told yet.
    """

    lines: tuple[Line, ...]
    rates: tuple[tuple[int, Bucket, int, int], ...]
    running: tuple[tuple[int, Tally, int], ...]
    sums: tuple[tuple[int, Sum, int], ...]
    unseeded: tuple[int, ...]
    from_ms: int
    until_ms: int

    def has_room(self) -> bool:
        """Whether one more call may run."""
        for _, tally, limit in self.running:  # noqa: SIM110 - a generator takes twice as long
            if tally.calls >= limit:
                return False
        return True

    def run(self, change: int) -> None:
        """So many more calls run."""
        for _, tally, _ in self.running:
            tally.calls += change


class Held(Struct, gc=False):
    """A call under way: what it holds, and until when."""

    claim: Claim
    bound: Bound
    running: bool
    expires_ms: int


class Done:
    """Which calls were settled, each known for a while: what is done twice counts once.

    In two parts of one such while each, so that the old ones go all together.
    """

    __slots__ = ("_before", "_now", "_remember_ms", "_turn_ms")

    def __init__(self, remember_ms: int) -> None:
        """A call is known for `remember_ms`."""
        self._remember_ms = remember_ms
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._turn_ms = 0

    def note(self, call_id: str, now_ms: int) -> bool:
        """The call is settled now; False when it was before."""
        if now_ms >= self._turn_ms:
            self._before, self._now = self._now, {}
            self._turn_ms = now_ms + self._remember_ms
        known_ms = self._now.get(call_id) or self._before.get(call_id, 0)
        if known_ms > now_ms:
            return False
        self._now[call_id] = now_ms + self._remember_ms
        return True
