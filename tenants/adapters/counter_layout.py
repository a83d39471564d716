"""The lines of a caller as the counters' scripts read them: laid out by the keys that keep them."""

from collections.abc import Callable, Sequence
from operator import itemgetter

import msgspec

from tenants.limit_types import Line, LineKind

_pack = msgspec.msgpack.encode
_Pick = Callable[[Sequence[int]], tuple[int, ...]]


class Layout:
    """Lines in the order of the scripts: rates, what runs, then sums period by period. Made once for a caller.

    `packed` is what the scripts take for the lines; `counter_scripts` says what it is made of.
    """

    __slots__ = ("_back", "_there", "packed")

    def __init__(self, lines: Sequence[Line]) -> None:
        """The layout of `lines`."""
        rates = [at for at, line in enumerate(lines) if line.kind is LineKind.RATE]
        running = [at for at, line in enumerate(lines) if line.kind is LineKind.RUNNING]
        groups: dict[tuple[int, ...], list[int]] = {}
        for at, line in enumerate(lines):
            if line.kind >= LineKind.DAY:
                period = (int(line.kind), line.start_ms, line.end_ms, line.next_end_ms)
                groups.setdefault(period, []).append(at)
        order = [*rates, *running, *(at for group in groups.values() for at in group)]
        self.packed = _pack(
            (
                _pairs(lines, rates, "@"),
                [lines[at].limit for at in rates],
                [lines[at].field for at in running],
                [lines[at].limit for at in running],
                [
                    (*period, _pairs(lines, group, "~"), [lines[at].limit for at in group])
                    for period, group in groups.items()
                ],
                order,
            )
        )
        self._there = _pick(order)
        self._back = _pick(sorted(range(len(order)), key=order.__getitem__))

    def values(self, values: Sequence[int]) -> bytes:
        """What stands beside the lines, packed in the order of the scripts."""
        return _pack(self._there(values))

    def counts(self, answer: Sequence[int]) -> tuple[int, ...]:
        """What the scripts say of the lines, in the lines' own order."""
        return self._back(answer)


def _pairs(lines: Sequence[Line], places: Sequence[int], beside: str) -> list[str]:
    """The two fields of each of these lines."""
    return [name for at in places for name in (lines[at].field, lines[at].field + beside)]


def _pick(order: Sequence[int]) -> _Pick:
    if len(order) == 1:
        only = order[0]
        return lambda values: (values[only],)
    return itemgetter(*order)
