"""The change log: every committed edit is told once, also one that commits late, and old rows go."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from fakes.clocks import FrozenClock

from kernel.backends import backends
from kernel.errors import Unavailable
from substrate.changes import (
    GAP_PATIENCE,
    KEEP_CHANGES,
    WIDEST_GAP,
    ChangeTail,
    forget_old_changes,
    record_change,
)
from substrate.models import Change
from substrate.ports import ChangeEvent
from substrate.units import close_units, run_unit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_units() -> Iterator[None]:
    yield
    close_units()


def write(*seqs: int, kind: str = "model") -> None:
    for seq in seqs:
        Change.objects.create(seq=seq, kind=kind, object_id=f"object-{seq}")


async def started(clock: FrozenClock | None = None) -> tuple[ChangeTail, list[int]]:
    tail, heard = ChangeTail(clock=clock or FrozenClock()), []
    tail.listen(lambda event: heard.append(event.seq))
    await tail.start()
    return tail, heard


async def test_what_was_before_the_start_is_not_told() -> None:
    await run_unit(write, 5, 6)
    tail, heard = await started()
    await tail.catch_up()
    assert heard == []
    await run_unit(write, 7, 8)
    await tail.catch_up()
    await tail.catch_up()
    assert heard == [7, 8]


async def test_an_event_says_what_changed() -> None:
    tenant_id = uuid.uuid4()
    tail, events = ChangeTail(), []
    tail.listen(events.append)
    await tail.start()
    await run_unit(record_change, kind="api_key", object_id="Ab12", tenant_id=tenant_id)
    await run_unit(record_change, kind="model", object_id=7)
    await tail.catch_up()
    assert [(event.kind, event.tenant_id, event.object_id) for event in events] == [
        ("api_key", tenant_id, "Ab12"),
        ("model", None, "7"),
    ]


async def test_a_change_that_commits_late_is_told_later() -> None:
    tail, heard = await started()
    await run_unit(write, 1, 3, 6)
    await tail.catch_up()
    assert heard == [1, 3, 6]
    await run_unit(write, 4)
    await tail.catch_up()
    await run_unit(write, 2, 7)
    await tail.catch_up()
    await tail.catch_up()
    assert heard == [1, 3, 6, 4, 2, 7]


async def test_a_change_that_was_under_way_at_the_start_is_told() -> None:
    await run_unit(write, 10, 12)
    tail, heard = await started()
    await run_unit(write, 11)
    await tail.catch_up()
    await tail.catch_up()
    assert heard == [11]


async def test_a_gap_is_looked_for_as_long_as_a_transaction_may_take() -> None:
    clock = FrozenClock()
    tail, heard = await started(clock)
    await run_unit(write, 2)
    await tail.catch_up()
    clock.advance(GAP_PATIENCE - timedelta(seconds=1))
    await tail.catch_up()
    clock.advance(2)
    await tail.catch_up()
    await run_unit(write, 1)
    await tail.catch_up()
    assert heard == [2]


async def test_a_log_that_was_emptied_before_the_start_opens_no_endless_gap() -> None:
    tail, heard = await started()
    await run_unit(write, 5_000_000)
    await tail.catch_up()
    await run_unit(write, 5_000_000 - 1, 5_000_000 - WIDEST_GAP - 1)
    await tail.catch_up()
    assert heard == [5_000_000, 5_000_000 - 1]


async def test_all_listeners_hear_each_change_in_order() -> None:
    tail, first = await started()
    second: list[int] = []
    tail.listen(lambda event: second.append(event.seq))
    await run_unit(write, *range(1, 40))
    await tail.catch_up()
    assert first == second == list(range(1, 40))


class Waker:
    """A nudge that counts who is sent and wakes who waits."""

    def __init__(self) -> None:
        self.sent = 0
        self._woken = asyncio.Event()

    def send(self) -> None:
        self.sent += 1

    async def wait(self, timeout_s: float) -> None:
        async with asyncio.timeout(5):
            await self._woken.wait()
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()


async def test_the_tail_runs_on_nudges_and_outlives_a_database_that_is_away() -> None:
    waker, heard, fails = Waker(), asyncio.Queue[int](), [True]
    backends.replace("change_nudge", waker)

    class Flaky(ChangeTail):
        async def catch_up(self) -> None:
            if fails.pop() if fails else False:
                raise Unavailable("away")
            await super().catch_up()

    tail = Flaky()
    tail.listen(lambda event: heard.put_nowait(event.seq))
    await tail.start()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task(tail.run())
        await run_unit(write, 1)
        waker.wake()
        assert await heard.get() == 1
        await run_unit(write, 2)
        waker.wake()
        assert await heard.get() == 2
        running.cancel()


async def test_edits_that_come_by_the_dozen_are_read_together() -> None:
    waker = Waker()
    backends.replace("change_nudge", waker)
    tail, reads = ChangeTail(poll_s=0.001, rest_s=0.05, clock=FrozenClock()), 0
    waker.wake()

    async def counted() -> None:
        nonlocal reads
        reads += 1
        waker.wake()

    tail.catch_up = counted  # type: ignore[method-assign]
    running = asyncio.ensure_future(tail.run())
    await asyncio.sleep(0.22)
    running.cancel()
    assert 1 <= reads <= 5


def edit(waker: Waker, *, fail: bool) -> int:
    with transaction.atomic():
        record_change(kind="model", object_id="m")
        before = waker.sent
        if fail:
            _ = 1 / 0
    return before


def test_others_are_nudged_once_the_edit_is_committed_and_never_before() -> None:
    waker = Waker()
    backends.replace("change_nudge", waker)
    try:
        with pytest.raises(ZeroDivisionError):
            edit(waker, fail=True)
        assert (waker.sent, Change.objects.count()) == (0, 0)
        assert edit(waker, fail=False) == 0
        assert (waker.sent, Change.objects.count()) == (1, 1)
    finally:
        backends.configure(backends.specs)


def test_old_changes_are_forgotten() -> None:
    write(1, 2, 3)
    Change.objects.filter(seq__lt=3).update(created_at=timezone.now() - KEEP_CHANGES - timedelta(seconds=1))
    assert forget_old_changes() == 2
    assert list(Change.objects.values_list("seq", flat=True)) == [3]


def test_the_sequence_goes_on_after_the_log_was_emptied() -> None:
    record_change(kind="model", object_id="m")
    first = Change.objects.get().seq
    Change.objects.all().delete()
    record_change(kind="model", object_id="m")
    assert Change.objects.get().seq > first


def test_an_event_is_plain_content() -> None:
    event: Any = ChangeEvent(1, "model", None, "m")
    with pytest.raises(AttributeError):
        event.seq = 2
