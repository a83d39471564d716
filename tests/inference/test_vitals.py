"""What is learned of replicas, and which of them are left alone. Pure."""

import pytest
from fakes.clocks import FrozenClock

from inference.health import LEAVE_ALONE_S, MOST_ALONE_S, TRIAL_COST_S, TRIAL_S, HealthBook
from inference.outliers import NO_PROGRESS_S, Verdict, Watched, judge, most_left_alone
from inference.sightings import Sighting
from inference.types import ReplicaLoad
from inference.vitals import SEEN_S, STALE_S, Vital, VitalsBook


def paced(gap_s: float, tokens: int = 500) -> Vital:
    vital = Vital()
    vital.note_pace(0.0, tokens, gap_s * tokens)
    return vital


def watched(*vitals: Vital, out: tuple[int, ...] = ()) -> list[Watched]:
    return [Watched(f"r{at}", vital, at not in out) for at, vital in enumerate(vitals)]


def test_a_queue_hardly_changes_what_is_known_of_the_speed() -> None:
    vital = Vital()
    for _ in range(20):
        vital.note_prefill(1000, 0.25)
    assert vital.speed == pytest.approx(4000)
    # One in four waits five times as long in the engine's own queue.
    for at in range(40):
        vital.note_prefill(1000, 1.25 if at % 4 == 0 else 0.25)
    assert vital.speed > 3500
    # An engine that became slow is known to be after a while.
    for _ in range(100):
        vital.note_prefill(1000, 1.0)
    assert vital.speed == pytest.approx(1000, rel=0.05)


def test_short_prompts_and_cached_ones_teach_nothing_wrong() -> None:
    vital = Vital()
    vital.note_prefill(20, 0.5)
    vital.note_prefill(-5, 0.5)
    assert vital.prefill_tps == 0.0
    vital.note_prefill(1000, 0.5)
    vital.note_prefill(100_000, 0.01)
    assert vital.speed <= 2000 * 2


def test_engine_figures_count_while_fresh() -> None:
    vital = Vital()
    vital.note_distance(0.0101)
    assert vital.standing_s == pytest.approx(0.01)
    vital.note_load(10.0, ReplicaLoad(1, 0, 0.9))
    assert vital.standing_s == pytest.approx(0.01 + 1.35)
    vital.stand(10.0 + STALE_S + 1)
    assert vital.standing_s == pytest.approx(0.01)
    vital.note_load(20.0, ReplicaLoad(1, 0, 7.5))
    assert vital.standing_s < 10


def test_counters_that_fall_tell_of_another_process() -> None:
    vital = Vital()
    vital.note_load(1.0, ReplicaLoad(1, 0, 0.1, made_tokens=100, prompt_tokens=50))
    vital.note_load(2.0, ReplicaLoad(1, 0, 0.1, made_tokens=150, prompt_tokens=50))
    assert (vital.generation, vital.progress_at) == (0, 2.0)
    vital.note_load(3.0, ReplicaLoad(0, 0, 0.0, made_tokens=3, prompt_tokens=1))
    assert vital.generation == 1


def test_an_engine_that_gives_no_token_is_left_alone() -> None:
    good, bad = Vital(), Vital()
    for each in (good, bad):
        each.begin(0.0, stream=True, tokens=100, slots=4)
    good.note_first(NO_PROGRESS_S, 0.1)
    assert judge(watched(good, bad), NO_PROGRESS_S - 1) == []
    (verdict,) = judge(watched(good, bad), NO_PROGRESS_S + 1)
    assert (verdict.id, verdict.hangs) == ("r1", True)
    bad.end(stream=True)
    assert judge(watched(good, bad), NO_PROGRESS_S + 1) == []


def test_a_long_prompt_has_its_time() -> None:
    bad = Vital()
    bad.begin(0.0, stream=True, tokens=100_000, slots=4)
    assert judge(watched(Vital(), bad), 100.0) == []
    assert judge(watched(Vital(), bad), 4 * 50.0 + NO_PROGRESS_S + 1)


def test_what_shows_no_tokens_is_not_taken_for_hanging() -> None:
    whole = Vital()
    whole.begin(0.0, stream=False, tokens=100, slots=4)
    assert judge(watched(Vital(), whole), 100.0) == []
    # An engine that tells its counters shows that nothing goes on.
    whole.note_load(99.0, ReplicaLoad(1, 0, 0.1, made_tokens=5))
    assert judge(watched(Vital(), whole), 100.0)


def judged(*vitals: Vital) -> list[Verdict]:
    """What is found when each keeps its pace for as long as it takes."""
    for step in range(4):
        now = 100.0 + step
        for each in vitals:
            each.note_pace(now, 64, 64 * each.gap_s)
        verdicts = judge(watched(*vitals), now)
        assert step == 3 or verdicts == []
    return verdicts


def test_one_much_slower_than_the_others_is_left_alone() -> None:
    (verdict,) = judged(paced(0.02), paced(0.02), paced(0.2))
    assert (verdict.id, verdict.hangs) == ("r2", False)
    assert "10.0 times" in verdict.reason
    assert judged(paced(0.02), paced(0.02), paced(0.05)) == []
    # Below a thirtieth of a second nobody notices.
    assert judged(paced(0.001), paced(0.001), paced(0.02)) == []


def test_a_replica_that_reads_long_prompts_between_times_is_not_slow() -> None:
    reader = Vital()
    others = [paced(0.02), paced(0.02)]
    for step in range(400):
        now = 1.0 + step / 20
        for each in others:
            each.note_pace(now, 8, 8 * 0.02)
        # Half of its stretches have a prompt in them, which makes them ten times as long.
        if step % 2:
            reader.begin(now - 2.0, stream=True, tokens=4000, slots=8)
            reader.end(stream=True)
            reader.note_pace(now, 8, 2.0)
        else:
            reader.note_pace(now, 8, 8 * 0.025)
        assert judge(watched(*others, reader), now) == []


def test_machines_that_always_were_unequal_are_no_outliers() -> None:
    assert judged(paced(0.02), paced(0.02), paced(0.08, tokens=5000)) == []


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 1), (4, 1), (6, 2), (9, 3)])
def test_never_all_and_a_third_at_most(count: int, most: int) -> None:
    assert most_left_alone(count) == most
    bad = [Vital() for _ in range(count)]
    for each in bad:
        each.begin(0.0, stream=True, tokens=1, slots=4)
    assert len(judge(watched(*bad), 1000.0)) == most
    assert len(judge(watched(*bad, out=(0,)), 1000.0)) == max(0, min(most - 1, count - 2))


def test_being_left_alone_ends_in_a_trial_and_doubles() -> None:
    clock = FrozenClock()
    book = HealthBook(clock=clock)
    assert book.leave_alone("r1", "slow") == LEAVE_ALONE_S
    assert not book.available("r1")
    health = book.read("r1")
    assert health is not None
    assert (health.left_alone, health.left_alone_s, health.on_trial) == ("slow", LEAVE_ALONE_S, False)
    # A probe that is fine brings it back no sooner.
    book.probe_succeeded("r1")
    assert not book.available("r1")
    clock.advance(LEAVE_ALONE_S + 1)
    assert book.available("r1")
    health = book.read("r1")
    assert health is not None
    assert (health.left_alone, health.on_trial) == ("", True)
    assert 0 < book.trial_cost("r1") < TRIAL_COST_S
    assert book.leave_alone("r1", "slow") == 2 * LEAVE_ALONE_S
    clock.advance(2 * LEAVE_ALONE_S + TRIAL_S)
    assert book.trial_cost("r1") == 0.0
    assert not book.suspects
    for _ in range(20):
        longest = book.leave_alone("r1", "slow")
    assert longest == MOST_ALONE_S
    clock.advance(10_000)
    assert book.leave_alone("r1", "slow") == LEAVE_ALONE_S


def test_what_others_are_told() -> None:
    book = VitalsBook()
    assert book.sighting("r1", 0.0) is None
    vital = book.of("r1")
    vital.note_first(1.0, 0.25)
    vital.note_pace(1.0, 100, 2.0)
    shown = book.sighting("r1", 2.0)
    assert shown == Sighting(firsts_ms=[250.0], gaps_ms=[20.0])
    assert book.sighting("r1", 2.0 + SEEN_S) == Sighting()
    vital.note_load(2.0, ReplicaLoad(1, 0, 0.5, cache_tokens=4_096))
    vital.note_load(3.0, ReplicaLoad(1, 0, 0.5))
    assert vital.cache_tokens == 4_096, "what it holds does not change because it is not said"
    book.keep_only([])
    assert book.sighting("r1", 2.0) is None
