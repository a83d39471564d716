"""Priority classes as bands: which of them the next slot goes to.

The most urgent band that waits goes first, always, but for two things that keep the others from starving:

- Each band below the first has a reserved share of the grants while it waits.
- A ticket that has waited longer than its class should is overdue. The overdue have a reserved share too, whatever
  their class, and there the longest wait goes first.

Shares are kept as credits. With each grant every line that could have taken it earns its share; a line that has earned
a whole grant gets the next one. A line served in its turn pays as well, so a share is a floor and not a bonus. All
shares together are 27 % of the grants, so the most urgent band has 73 % of them for itself under any load, and a line is
never more than `LINES` grants behind its share.
"""

from collections.abc import Sequence

from msgspec import Struct

from tenants.types import PriorityClass

# A grant, in the thousandths that shares are given in.
WHOLE = 1000


class BandRule(Struct, frozen=True):
    """What a class may count on.

    `share`: thousandths of the grants that it gets at least while it waits. `overdue_ms`: a longer wait makes a ticket
    overdue. `queue_share`: thousandths of the pool's queue that it may fill.
    """

    share: int
    overdue_ms: float
    queue_share: int


RULES: dict[PriorityClass, BandRule] = {
    PriorityClass.CRITICAL: BandRule(share=0, overdue_ms=5_000, queue_share=1000),
    PriorityClass.INTERACTIVE: BandRule(share=100, overdue_ms=10_000, queue_share=1000),
    PriorityClass.STANDARD: BandRule(share=50, overdue_ms=30_000, queue_share=800),
    PriorityClass.BATCH: BandRule(share=20, overdue_ms=120_000, queue_share=500),
}
BANDS = tuple(RULES[each] for each in PriorityClass)
OVERDUE = len(BANDS)
OVERDUE_SHARE = 100
SHARES = (*(rule.share for rule in BANDS), OVERDUE_SHARE)
LINES = sum(share > 0 for share in SHARES)


class Credits:
    """What each line has earned: one for each band, by rank, and the last for the overdue."""

    __slots__ = ("earned",)

    def __init__(self) -> None:
        """Nothing is earned yet."""
        self.earned = [0] * len(SHARES)

    def choose(self, waiting: Sequence[int], *, overdue: bool) -> int:
        """The line that the next grant goes to, and its payment.

        `waiting` are the ranks of the bands that could take it, in order, at least one; `overdue` says whether an
        overdue ticket could.
        """
        earned = self.earned
        chosen, most = waiting[0], WHOLE - 1
        for line in (*waiting, OVERDUE) if overdue else waiting:
            earned[line] += SHARES[line]
            if earned[line] > most:
                chosen, most = line, earned[line]
        earned[chosen] = max(0, earned[chosen] - WHOLE)
        return chosen
