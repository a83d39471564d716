"""The request at hand: visible within its block and its tasks, nowhere else."""

import asyncio
from datetime import timedelta

import pytest

from kernel.clock import SYSTEM_CLOCK
from kernel.context import RequestContext, current_request, ensure_request, request_context

OUTER = RequestContext("outer-request", "a" * 32)
INNER = RequestContext("inner-request", "b" * 32)


def test_blocks_nest_and_end() -> None:
    assert current_request() is None
    with request_context(OUTER):
        with request_context(INNER):
            assert current_request() == INNER
        assert current_request() == OUTER
    assert current_request() is None


def test_an_error_ends_the_block_too() -> None:
    with pytest.raises(ZeroDivisionError), request_context(OUTER):
        _ = 1 / 0
    assert current_request() is None


async def test_tasks_inherit_but_do_not_leak() -> None:
    async def inner() -> RequestContext | None:
        with request_context(INNER):
            await asyncio.sleep(0)
            return current_request()

    with request_context(OUTER):
        assert await asyncio.create_task(inner()) == INNER
        assert current_request() == OUTER


def test_work_that_nobody_asked_for_gets_ids_of_its_own() -> None:
    with request_context(OUTER):
        assert ensure_request() == OUTER
    assert ensure_request() != ensure_request()
    assert len(ensure_request().trace_id) == 32


def test_the_system_clock_is_aware_and_does_not_go_back() -> None:
    assert SYSTEM_CLOCK.now().utcoffset() == timedelta(0)
    first = SYSTEM_CLOCK.monotonic()
    assert SYSTEM_CLOCK.monotonic() >= first
