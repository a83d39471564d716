"""What calls amounted to that were answered with what had been said before, for operators: the caller has checked that."""

from datetime import timedelta
from typing import NamedTuple

from django.db.models import Count, F, Q, Sum

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.crossing import system_scope
from tenants.models import UsageRecord
from tenants.rollup_models import PlatformHour

SUMMED = timedelta(days=1)


class CachedSums(NamedTuple):
    """Of a model: all its `calls`, and those that were `given_again` with their tokens and what they cost.

    `given_alike` of them by an assistant, to questions like those they were made for.
    """

    calls: int
    given_again: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    given_alike: int = 0


def summarise_cached(*, clock: Clock = SYSTEM_CLOCK) -> dict[str, CachedSums]:
    """By model, over all tenants: the last 24 hours of the clock, the one that goes on included."""
    since = clock.now() - SUMMED
    with system_scope("summarise the platform", read_only=True):
        hours = PlatformHour.objects.filter(start__gt=since).values("model")
        calls = {
            row["model"]: int(row["calls"])
            for row in hours.annotate(calls=Sum(F("completed") + F("cancelled") + F("failed")))
        }
        again = UsageRecord.objects.filter(cached=True, started_at__gt=since).values("model").order_by()
        found = again.annotate(
            given=Count("id"),
            read=Sum("prompt_tokens"),
            written=Sum("completion_tokens"),
            cost=Sum("cost_nano"),
            # No other answers of assistants are kept.
            alike=Count("id", filter=~Q(assistant="")),
        )
        given = {
            row["model"]: CachedSums(0, row["given"], row["read"], row["written"], row["cost"], row["alike"])
            for row in found
        }
    # The hour that the 24 begin in is summed by one and not by the other.
    return {
        model: sums._replace(calls=max(calls.get(model, 0), sums.given_again))
        for model, sums in ({model: CachedSums(0) for model in calls} | given).items()
    }
