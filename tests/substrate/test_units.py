"""Units of work: bounded in number and time, with the caller's context, and a worded error when the database fails."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.db import InterfaceError, OperationalError

from kernel.context import RequestContext, current_request, request_context
from kernel.errors import Conflict, Unavailable
from substrate.units import UnitPool, close_units, run_unit


@pytest.fixture
def pool() -> Iterator[UnitPool]:
    made = UnitPool(threads=2, timeout_s=0.2, waiting=1)
    yield made
    made.close()


@pytest.mark.django_db(transaction=True)
async def test_the_result_comes_back_from_another_thread() -> None:
    def work(left: int, *, right: int) -> tuple[int, str]:
        return left + right, threading.current_thread().name

    total, name = await run_unit(work, 3, right=4)
    assert total == 7
    assert name.startswith("unit")
    assert name != threading.current_thread().name
    close_units()


async def test_its_error_comes_out_as_it_is(pool: UnitPool) -> None:
    def work() -> None:
        raise Conflict("taken")

    with pytest.raises(Conflict, match="taken"):
        await pool.run(work)


@pytest.mark.parametrize("error", [OperationalError("server closed"), InterfaceError("connection closed")])
async def test_a_database_that_fails_is_unavailable_and_worth_a_retry(
    pool: UnitPool, error: Exception
) -> None:
    def work() -> None:
        raise error

    with pytest.raises(Unavailable) as raised:
        await pool.run(work)
    assert raised.value.retryable
    assert raised.value.retry_after_s == 1.0
    assert "closed" not in raised.value.message


async def test_the_request_at_hand_is_there_in_the_thread(pool: UnitPool) -> None:
    context = RequestContext("request-1", "a" * 32)
    with request_context(context):
        assert await pool.run(current_request) == context
    assert await pool.run(current_request) is None


async def test_no_more_than_the_bound_run_or_wait(pool: UnitPool) -> None:
    gate = threading.Event()
    working = [asyncio.ensure_future(pool.run(gate.wait)) for _ in range(3)]
    await asyncio.sleep(0.02)
    with pytest.raises(Unavailable, match="busy"):
        await pool.run(lambda: None)
    gate.set()
    assert await asyncio.gather(*working) == [True] * 3
    assert await pool.run(lambda: "room again") == "room again"


async def test_a_late_unit_is_given_up_but_keeps_its_place_until_it_ends(pool: UnitPool) -> None:
    gate = threading.Event()
    began = time.monotonic()
    late = await asyncio.gather(*(pool.run(gate.wait) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in late] == [Unavailable] * 3
    assert time.monotonic() - began < 2
    with pytest.raises(Unavailable, match="busy"):
        await pool.run(lambda: None)
    gate.set()
    await asyncio.sleep(0.05)
    assert await pool.run(lambda: 1) == 1


async def test_a_caller_that_leaves_does_not_break_the_unit(pool: UnitPool) -> None:
    gate, done = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait()
        done.set()

    caller = asyncio.ensure_future(pool.run(work))
    await asyncio.sleep(0.02)
    caller.cancel()
    with suppress(asyncio.CancelledError):
        await caller
    gate.set()
    assert await asyncio.to_thread(done.wait, 2)


@pytest.mark.django_db(transaction=True)
async def test_the_next_unit_after_closing_builds_a_pool_anew() -> None:
    assert await run_unit(lambda: 1) == 1
    close_units()
    close_units()
    assert await run_unit(lambda: 2) == 2
    close_units()
