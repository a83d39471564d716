"""Sums of usage that can be added up: counts, tokens, money, and latencies in buckets of fixed borders. Pure.

Latencies are kept as in DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", PVLDB 12, 2019): bucket i holds the values in (γ^(i-1), γ^i] with γ = (1+α)/(1-α), and
stands for 2γ^i/(γ+1). Borders are the same everywhere, so that the buckets of any range are the sums of its parts',
and a percentile of any range is off by α = 5 % of its value at most.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct, pack
from typing import Protocol

import numpy as np

from tenants.types import SHADOW, Latency, UsageState, UsageTotals

ALPHA = 0.05
_GAMMA = (1 + ALPHA) / (1 - ALPHA)
_SCALE = 1 / math.log(_GAMMA)
# γ^255 ms is four thousand years.
_LAST_BUCKET = 255
# A bucket's number and its count.
_PAIR = Struct("<BI")
_PAIRS = np.dtype([("bucket", "u1"), ("count", "<u4")])
BIGGEST = 2**63 - 1

Buckets = dict[int, int]


class Measured(Protocol):
    """A finished call, as far as it is counted."""

    @property
    def origin(self) -> str:
        """Where it came from."""
        ...

    @property
    def state(self) -> UsageState:
        """How it ended."""
        ...

    @property
    def prompt_tokens(self) -> int:
        """Tokens in."""
        ...

    @property
    def completion_tokens(self) -> int:
        """Tokens out."""
        ...

    @property
    def cost_nano(self) -> int:
        """Money in billionths."""
        ...

    @property
    def first_token_ms(self) -> int:
        """Time to the first token, 0 when there was none."""
        ...

    @property
    def total_ms(self) -> int:
        """Time to the end."""
        ...


def bucket_of(milliseconds: int) -> int:
    """The bucket that holds `milliseconds`; everything up to 1 ms is in bucket 0."""
    return 0 if milliseconds <= 1 else min(math.ceil(math.log(milliseconds) * _SCALE), _LAST_BUCKET)


def percentile(buckets: Mapping[int, int], share: float) -> int | None:
    """The value that `share` (0–1) of the counted values do not exceed, in ms, within 5 %; None without any."""
    count = sum(buckets.values())
    if not count:
        return None
    rank = share * (count - 1)
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen > rank:
            break
    return round(2 * _GAMMA**bucket / (_GAMMA + 1))


def packed(buckets: Mapping[int, int]) -> bytes:
    """Buckets as they are stored: pairs of number (one byte) and count (four bytes), in any order."""
    return pack("<" + "BI" * len(buckets), *chain.from_iterable(buckets.items()))


def add_packed(buckets: Buckets, stored: bytes) -> None:
    """Add stored buckets to `buckets`."""
    known = buckets.get
    for bucket, count in _PAIR.iter_unpack(stored):
        buckets[bucket] = known(bucket, 0) + count


def add_many_packed(buckets: Buckets, stored: Iterable[bytes]) -> None:
    """Add the stored buckets of many rows at once; exact up to 2^53 calls."""
    pairs = np.frombuffer(b"".join(stored), dtype=_PAIRS)
    counts = np.bincount(pairs["bucket"], weights=pairs["count"])
    for bucket in np.flatnonzero(counts).tolist():
        buckets[bucket] = buckets.get(bucket, 0) + int(counts[bucket])


def add_buckets(buckets: Buckets, more: Mapping[int, int]) -> None:
    """Add `more` to `buckets`."""
    for bucket, count in more.items():
        buckets[bucket] = buckets.get(bucket, 0) + count


@dataclass(slots=True)
class Tally:
    """Usage summed up. Times to the first token are of calls that had one, total times of completed calls."""

    completed: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    first_tokens: Buckets = field(default_factory=dict)
    totals: Buckets = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """All calls."""
        return self.completed + self.cancelled + self.failed

    @property
    def used(self) -> bool:
        """Whether there is anything to tell: calls, or what copies of calls used."""
        return bool(self.requests or self.prompt_tokens or self.completion_tokens)

    def count(self, call: Measured) -> None:
        """Add one call. A copy of one is no request, and its times are nobody's: it counts for what it used."""
        self.prompt_tokens += call.prompt_tokens
        self.completion_tokens += call.completion_tokens
        self.cost_nano += call.cost_nano
        if call.origin == SHADOW:
            return
        if call.state is UsageState.COMPLETED:
            self.completed += 1
            bucket = bucket_of(call.total_ms)
            self.totals[bucket] = self.totals.get(bucket, 0) + 1
        elif call.state is UsageState.CANCELLED:
            self.cancelled += 1
        else:
            self.failed += 1
        if call.first_token_ms > 0:
            bucket = bucket_of(call.first_token_ms)
            self.first_tokens[bucket] = self.first_tokens.get(bucket, 0) + 1

    def take_away(self, other: "Tally") -> None:
        """Take away what was added before as part of more."""
        self.completed -= other.completed
        self.cancelled -= other.cancelled
        self.failed -= other.failed
        self.prompt_tokens -= other.prompt_tokens
        self.completion_tokens -= other.completion_tokens
        self.cost_nano -= other.cost_nano
        for mine, theirs in ((self.first_tokens, other.first_tokens), (self.totals, other.totals)):
            for bucket, count in theirs.items():
                left = mine.get(bucket, 0) - count
                if left:
                    mine[bucket] = left
                else:
                    mine.pop(bucket, None)

    def add(self, more: "Tally") -> None:
        """Add another sum."""
        self.completed += more.completed
        self.cancelled += more.cancelled
        self.failed += more.failed
        self.prompt_tokens += more.prompt_tokens
        self.completion_tokens += more.completion_tokens
        self.cost_nano += more.cost_nano
        add_buckets(self.first_tokens, more.first_tokens)
        add_buckets(self.totals, more.totals)

    def numbers(self) -> tuple[int, int, int, int, int, int]:
        """Completed, cancelled, failed, tokens in, tokens out, money; none greater than a column holds."""
        return (
            self.completed,
            self.cancelled,
            self.failed,
            self.prompt_tokens if self.prompt_tokens < BIGGEST else BIGGEST,
            self.completion_tokens if self.completion_tokens < BIGGEST else BIGGEST,
            self.cost_nano if self.cost_nano < BIGGEST else BIGGEST,
        )

    def shown(self) -> UsageTotals:
        """The sum as it leaves the app."""
        return UsageTotals(
            requests=self.requests,
            completed=self.completed,
            cancelled=self.cancelled,
            failed=self.failed,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cost_nano=self.cost_nano,
            first_token=latency(self.first_tokens),
            total=latency(self.totals),
        )


def latency(buckets: Mapping[int, int]) -> Latency:
    """Median and 95th percentile."""
    return Latency(percentile(buckets, 0.5), percentile(buckets, 0.95))
