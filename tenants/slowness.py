"""Which of some groups is slow: measured against the group in the middle of them. Pure.

The middle, not the mean or the sum of all, so that neither one slow group nor a busy one moves what is usual.
"""

from collections.abc import Sequence
from dataclasses import replace

from tenants.types import UsageGroup

# A group is slow when its p95 is so many times the usual one, and long enough for a person to notice.
TIMES, NOTICED_MS = 2.0, 500
# The p95 of fewer requests than these is one request's.
FEWEST = 20


def usual_ms(groups: Sequence[UsageGroup]) -> int | None:
    """The p95 of the time to the first token of the group in the middle (the lower of two); None without any."""
    measured = sorted(each.totals.first_token.p95 or 0 for each in groups if _counts(each))
    return measured[(len(measured) - 1) // 2] if measured else None


def marked(groups: Sequence[UsageGroup]) -> list[UsageGroup]:
    """The same groups in their order, each told whether it is slow. One alone never is."""
    usual = usual_ms(groups)
    if usual is None:
        return list(groups)
    least = max(TIMES * usual, NOTICED_MS)
    return [
        replace(each, slow=_counts(each) and (each.totals.first_token.p95 or 0) >= least) for each in groups
    ]


def slowest(groups: Sequence[UsageGroup], most: int) -> list[UsageGroup]:
    """Those that wait longest for their first tokens, at most so many; groups of too few requests are left out."""
    counted = [each for each in groups if _counts(each)]
    return sorted(counted, key=lambda each: (-(each.totals.first_token.p95 or 0), each.label))[:most]


def _counts(group: UsageGroup) -> bool:
    return group.totals.first_token.p95 is not None and group.totals.requests >= FEWEST
