"""The start page says when limits are kept by shares, or were counted anew, and where usage waits meanwhile."""

from dataclasses import replace
from typing import Any

import pytest

from console.home import health
from kernel.backends import backends
from kernel.errors import Unavailable
from tenants.limit_types import CountersState

pytestmark = pytest.mark.django_db(transaction=True)


class Told:
    """Counters that say what a test wrote down."""

    def __init__(self, state: CountersState) -> None:
        self._state = state

    async def check(self) -> CountersState:
        return self._state


@pytest.mark.parametrize(
    ("state", "shown", "words"),
    [
        (CountersState(), health.OK, ""),
        (CountersState(exact=False, reachable=False), health.SLOW, "Redis is away"),
        (CountersState(exact=False, emptied=1), health.SLOW, "Redis was emptied"),
    ],
)
async def test_how_limits_are_kept_is_a_part_of_health(state: CountersState, shown: str, words: str) -> None:
    backends.replace("counters", Told(state))
    found, detail = await health._counters()
    assert found == shown
    assert detail.startswith(words)


class AwaySpool:
    """A spool whose store is not reachable."""

    async def backlog(self) -> None:
        raise Unavailable("Redis is not reachable.")


async def test_usage_that_waits_in_files_while_redis_is_away_is_not_down(settings: Any) -> None:
    backends.replace("usage_spool", AwaySpool())
    settings.ATRIUM = replace(settings.ATRIUM, redis_url="redis://127.0.0.1:1/0")
    assert await health._usage_spool() == (
        health.SLOW,
        "Redis is away: usage waits in files and is booked later",
    )
    settings.ATRIUM = replace(settings.ATRIUM, redis_url="")
    with pytest.raises(Unavailable):
        await health._usage_spool()
