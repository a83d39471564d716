"""What a call costs on each replica, in seconds. Pure."""

import pytest

from inference.vitals import FELT_TOKENS, Vital
from routing.balancing import cheapest
from routing.prefixes import Prefix, PrefixIndex
from routing.scoring import weigh
from routing.types import ReplicaSlots

LONG = Prefix(tuple(range(1, 65)), home=5)
TOKENS = 64 * 64
IDS = ["r1", "r2", "r3", "r4"]


def vitals(count: int = 2, **fields: float) -> list[Vital]:
    return [Vital(**fields) for _ in range(count)]  # type: ignore[arg-type]


def choose(slots: tuple[ReplicaSlots, ...], flight: dict[str, int] | None = None) -> str:
    found = cheapest(slots, lambda _: 0, lambda replica: (flight or {}).get(replica, 0))
    assert found is not None
    return found.id


def test_a_conversation_goes_where_it_was_read() -> None:
    index = PrefixIndex()
    index.note("r2", 0, LONG.chain[:48])
    weighing = weigh(IDS[:2], [8, 8], vitals(), TOKENS, LONG, index)
    assert choose(weighing.slots) == "r2"
    terms = weighing.terms(1)
    assert (terms.cached_tokens, terms.uncached_tokens) == (48 * 64, 16 * 64)
    assert terms.stranger_s == 0.0
    assert terms.own_s == pytest.approx(16 * 64 / 2000)


def test_a_call_waits_longer_for_a_cache_the_busier_the_others_are() -> None:
    index = PrefixIndex()
    index.note("r2", 0, LONG.chain)
    saved_s = TOKENS / 2000

    def may_go_to(*, own: float, other: float) -> list[str]:
        known = vitals()
        known[0].read_until, known[1].read_until = other * saved_s, own * saved_s
        weighing = weigh(IDS[:2], [8, 8], known, TOKENS, LONG, index, now=0.0)
        return [each.id for each in weighing.worth_it]

    assert may_go_to(own=0.0, other=0.0) == ["r2"]
    assert may_go_to(own=1.9, other=0.0) == ["r2"]
    assert may_go_to(own=2.1, other=0.0) == IDS[:2]
    assert may_go_to(own=4.0, other=0.05) == ["r2"]
    assert may_go_to(own=99.0, other=0.5) == ["r2"]
    assert may_go_to(own=101.0, other=0.5) == IDS[:2]


def test_a_replica_without_a_free_slot_is_left_while_the_others_have_little_to_do() -> None:
    index = PrefixIndex()
    index.note("r2", 0, LONG.chain)
    known = vitals()
    for _ in range(8):
        known[1].begin(0.0, stream=True, tokens=0, slots=8)
    assert len(weigh(IDS[:2], [8, 8], known, TOKENS, LONG, index, now=0.0).worth_it) == 2
    known[0].read_until = 1.0
    assert len(weigh(IDS[:2], [8, 8], known, TOKENS, LONG, index, now=0.0).worth_it) == 1


def test_a_new_prompt_settles_where_it_is_read_soonest_when_all_are_busy() -> None:
    known = vitals()
    known[0].queued_s, known[1].queued_s = 3.0, 1.0
    weighing = weigh(IDS[:2], [8, 8], known, TOKENS, LONG, PrefixIndex(), now=0.0)
    assert (weighing.settled, [each.id for each in weighing.worth_it], weighing.waits) == (1, ["r2"], True)
    known[1].queued_s = 0.0
    weighing = weigh(IDS[:2], [8, 8], known, TOKENS, LONG, PrefixIndex(), now=0.0)
    assert (weighing.settled, len(weighing.worth_it), weighing.waits) == (-1, 2, False)


def test_the_load_of_a_replica_costs_by_its_pace() -> None:
    known = vitals()
    known[1].begin(0.0, stream=True, tokens=0, slots=8)
    assert known[1].load_s == pytest.approx(FELT_TOKENS * 0.02 / 8)
    assert choose(weigh(IDS[:2], [8, 8], known, TOKENS, None, PrefixIndex()).slots) == "r1"


def test_a_new_conversation_goes_home_unless_home_is_busy() -> None:
    index = PrefixIndex()
    weighing = weigh(IDS, [8] * 4, vitals(4), TOKENS, LONG, index)
    home = choose(weighing.slots)
    assert all(
        choose(weigh(IDS, [8] * 4, vitals(4), TOKENS, LONG, PrefixIndex()).slots) == home for _ in "abc"
    )
    strangers = [weighing.terms(at).stranger_s for at in range(4)]
    assert sorted(strangers) == pytest.approx([0.0, TOKENS / 4000, TOKENS / 4000, TOKENS / 4000])
    assert choose(weighing.slots, {home: TOKENS}) != home


def test_a_fast_replica_is_nearer_than_a_slow_one() -> None:
    known = vitals()
    known[0].note_prefill(1000, 1.0)
    known[1].note_prefill(1000, 0.25)
    slots = weigh(IDS[:2], [8, 8], known, 2000, None, PrefixIndex()).slots
    assert [each.prefill_tps for each in slots] == [1000.0, 4000.0]
    assert choose(slots) == "r2"
    assert choose(slots, {"r2": 7000}) == "r1"


def test_speeds_that_are_nearly_the_same_are_the_same_and_the_untried_may_be_fast() -> None:
    known = vitals(3)
    known[0].note_prefill(1000, 0.25)
    known[1].note_prefill(1000, 0.3)
    slots = weigh(IDS[:3], [8] * 3, known, 2000, None, PrefixIndex()).slots
    assert [each.prefill_tps for each in slots] == [4000.0] * 3


@pytest.mark.parametrize(("speed", "tokens"), [(0.0, 0), (100.0, 512), (4000.0, 1024)])
def test_a_replica_reads_a_quarter_of_a_second_ahead_once_its_speed_is_known(
    speed: float, tokens: int
) -> None:
    known = vitals(2, prefill_tps=speed)
    slots = weigh(IDS[:2], [8, 8], known, 100, None, PrefixIndex()).slots
    assert [each.token_budget for each in slots] == [tokens] * 2


def test_terms_tell_each_part() -> None:
    known = vitals()
    known[0].standing_s = 0.02
    terms = weigh(IDS[:2], [8, 8], known, 40, None, PrefixIndex(), [1.5, 0.0]).terms(0)
    assert (terms.standing_s, terms.trial_s, terms.stranger_s, terms.load_s) == (0.02, 1.5, 0.0, 0.0)
    assert terms.own_s == pytest.approx(0.02 + 1.5 + 40 / 2000)


def test_small_calls_are_spread_by_load_and_not_by_noise() -> None:
    known = vitals()
    known[0].note_prefill(1000, 0.5)
    known[1].note_prefill(1000, 0.49)
    counts = {"r1": 0, "r2": 0}
    for _ in range(16):
        chosen = choose(weigh(IDS[:2], [8, 8], known, 20, None, PrefixIndex()).slots)
        counts[chosen] += 1
        known[IDS.index(chosen)].begin(0.0, stream=True, tokens=20, slots=8)
    assert counts == {"r1": 8, "r2": 8}
