"""How another model does on the calls that one has answered, as its copies tell."""

from datetime import datetime

from msgspec import Struct

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput
from routing.comparing import CUTS, Comparison, bounds, compare
from routing.services.policies import get_policy
from tenants.services import list_pairs
from tenants.types import Principal

# The newest so many pairs of a range are compared: a tenth of a second.
MOST_PAIRS = 10_000


class Compared(Struct, frozen=True):
    """All comparisons of a range. `whole` is false where there were more pairs than are looked at: these are the newest."""

    start: datetime
    end: datetime
    step_s: int
    pairs: int
    whole: bool
    results: list[Comparison]


def compare_models(*, principal: Principal, period: str, clock: Clock = SYSTEM_CLOCK) -> Compared:
    """What the copies of the caller's tenant have shown over `period` (a name in `CUTS`), and which models are copied now.

    Raises PermissionDenied, BadInput.
    """
    cut = CUTS.get(period)
    if cut is None:
        raise BadInput(f"range is one of {', '.join(CUTS)}.", param="range")
    policy = get_policy(principal=principal).policy
    now = clock.now()
    start = bounds(cut, now)
    pairs = list_pairs(principal=principal, since=start, limit=MOST_PAIRS + 1)
    copied = {(each.model, each.to): each.percent for each in policy.shadows}
    return Compared(
        start=start,
        end=now,
        step_s=cut.step_s,
        pairs=len(pairs[:MOST_PAIRS]),
        whole=len(pairs) <= MOST_PAIRS,
        results=compare(pairs[:MOST_PAIRS], copied, start=start, cut=cut),
    )
