"""The start page says when limits are kept by shares, or were counted anew."""

import pytest

from console.home import health
from kernel.backends import backends
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
