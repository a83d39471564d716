"""The policy of replica health: who goes out, who comes back, and when."""

from fakes.clocks import FrozenClock

from inference.health import HealthBook


def book() -> tuple[HealthBook, FrozenClock]:
    clock = FrozenClock()
    return HealthBook(clock=clock), clock


def test_unknown_replicas_are_in_service() -> None:
    assert book()[0].available("never heard of")


def test_two_failed_probes_put_a_replica_out_and_one_good_one_brings_it_back() -> None:
    health, _ = book()
    assert not health.probe_failed("r")
    assert health.available("r")
    assert health.probe_failed("r")
    assert not health.available("r")
    assert not health.probe_failed("r")
    assert health.probe_succeeded("r")
    assert health.available("r")
    assert not health.probe_succeeded("r")


def test_a_good_probe_between_two_bad_ones_forgives() -> None:
    health, _ = book()
    health.probe_failed("r")
    health.probe_succeeded("r")
    health.probe_failed("r")
    assert health.available("r")


def test_three_failed_attempts_in_a_row_put_a_replica_out() -> None:
    health, clock = book()
    assert [health.attempt_failed("r") for _ in range(3)] == [False, False, True]
    assert not health.available("r")
    # A probe that was under way when the attempts failed does not bring it back at once.
    assert not health.probe_succeeded("r")
    assert not health.available("r")
    clock.advance(2.1)
    assert health.probe_succeeded("r")
    assert health.available("r")
    assert [health.attempt_failed("r") for _ in range(3)] == [False, False, True]


def test_a_success_between_failures_forgives_and_brings_back() -> None:
    health, _ = book()
    health.attempt_failed("r")
    health.attempt_failed("r")
    health.attempt_succeeded("r")
    health.attempt_failed("r")
    health.attempt_failed("r")
    assert health.available("r")
    health.attempt_failed("r")
    assert not health.available("r")
    health.attempt_succeeded("r")
    assert health.available("r")


def test_replicas_are_judged_apart_and_forgotten_when_removed() -> None:
    health, _ = book()
    for _ in range(3):
        health.attempt_failed("a")
    assert health.available("b")
    health.keep_only(["b"])
    assert health.available("a")
