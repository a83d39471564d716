"""Turns: one owner at a time, until its time is over or it gives the turn back."""

import pytest
from fakes.clocks import FrozenClock

from routing.models import ScalingTurn
from routing.services.turns import TURN_S, give_turn_back, own_name, take_turn

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_turn_is_one_owner_s_until_it_is_over() -> None:
    clock = FrozenClock()
    assert take_turn(name="t", owner="a", clock=clock)
    assert not take_turn(name="t", owner="b", clock=clock)
    clock.advance(TURN_S - 1)
    assert take_turn(name="t", owner="a", clock=clock), "it puts the end off"
    clock.advance(TURN_S - 1)
    assert not take_turn(name="t", owner="b", clock=clock)
    clock.advance(2)
    assert take_turn(name="t", owner="b", clock=clock)
    assert not take_turn(name="t", owner="a", clock=clock)
    give_turn_back(name="t", owner="a")
    assert ScalingTurn.objects.get().owner == "b"
    give_turn_back(name="t", owner="b")
    assert take_turn(name="t", owner="a", clock=clock)


def test_turns_of_other_names_are_others() -> None:
    assert take_turn(name="one", owner="a")
    assert take_turn(name="other", owner="b")
    assert own_name() != own_name()
