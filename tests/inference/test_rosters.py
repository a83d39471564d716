"""What follows from what a source says: joined, drained, brought back, removed; never because it names nobody."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from inference.rosters import DRAIN_S, HEARD_S, Known, Steps, steps_for
from inference.sources import Found, Presence, Roster

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
A, B, C = "http://a/v1", "http://b/v1", "http://c/v1"


def known(
    number: int, url: str, *, discovered: bool = True, gone_s: float | None = None, model: str = "m"
) -> Known:
    since = None if gone_s is None else NOW - timedelta(seconds=gone_s)
    return Known(UUID(int=number), model, url, discovered, since)


def steps(
    roster: dict[str, Presence] | list[str], *there: Known, calls: dict[str, int] | None = None
) -> Steps:
    if isinstance(roster, list):
        roster = dict.fromkeys(roster, Presence.READY)
    found = tuple(Found(url, presence) for url, presence in roster.items())
    return steps_for(Roster(found), there, model="m", calls={} if calls is None else calls, now=NOW)


def test_new_ones_join_and_known_ones_stay() -> None:
    assert steps([A, B, B], known(1, A)) == Steps(join=(B,))
    assert steps([A], known(1, A)) == Steps()


@pytest.mark.parametrize("roster", [{}, {A: Presence.LEAVING}, {A: Presence.UNREADY, B: Presence.LEAVING}])
def test_who_names_nobody_that_takes_calls_changes_nothing(roster: dict[str, Presence]) -> None:
    there = known(1, A), known(2, B), known(3, C, gone_s=DRAIN_S)
    assert steps(roster, *there) == Steps()


def test_who_is_named_no_more_drains_and_goes_when_its_calls_have_ended() -> None:
    assert steps([A], known(1, A), known(2, B)) == Steps(drain=(UUID(int=2),))
    heard = known(2, B, gone_s=HEARD_S)
    assert steps([A], known(1, A), known(2, B, gone_s=HEARD_S - 1)) == Steps()
    assert steps([A], known(1, A), heard) == Steps(remove=(UUID(int=2),))
    assert steps([A], known(1, A), heard, calls={str(UUID(int=2)): 1}) == Steps()
    late = known(2, B, gone_s=DRAIN_S)
    assert steps([A], known(1, A), late, calls={str(UUID(int=2)): 1}) == Steps(remove=(UUID(int=2),))


def test_while_nobody_knows_what_runs_only_the_late_go() -> None:
    roster = Roster((Found(A),))
    for gone_s, gone in ((HEARD_S, ()), (DRAIN_S, (UUID(int=2),))):
        found = steps_for(roster, [known(2, B, gone_s=gone_s)], model="m", calls=None, now=NOW)
        assert found.remove == gone


def test_who_comes_back_serves_again() -> None:
    assert steps([A, B], known(1, A), known(2, B, gone_s=60)) == Steps(back=(UUID(int=2),))


def test_who_is_about_to_end_drains_while_it_is_named_still() -> None:
    roster = {A: Presence.READY, B: Presence.LEAVING, C: Presence.LEAVING}
    assert steps(roster, known(1, A), known(2, B)) == Steps(drain=(UUID(int=2),))


def test_who_is_not_ready_neither_joins_nor_drains() -> None:
    roster = {A: Presence.READY, B: Presence.UNREADY, C: Presence.UNREADY}
    assert steps(roster, known(1, A), known(2, B)) == Steps()
    assert steps(roster, known(1, A), known(2, B, gone_s=60)) == Steps(), "it comes back when it is ready"


def test_what_people_registered_is_theirs() -> None:
    own = known(1, A, discovered=False)
    assert steps([A, B], own, known(2, B)) == Steps()
    assert steps([B], own, known(2, B)) == Steps()


def test_when_the_source_names_another_model_its_replicas_take_the_place_of_the_old() -> None:
    assert steps([A], known(1, A, model="old")) == Steps(join=(A,), drain=(UUID(int=1),))
    there = known(1, A, model="old", gone_s=60), known(2, A)
    assert steps([A], *there) == Steps(remove=(UUID(int=1),))
