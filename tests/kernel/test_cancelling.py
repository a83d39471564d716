"""A client's sending that would lose a cancellation raises it."""

import asyncio
from typing import Any

import pytest

from kernel.cancelling import hearing, hearing_class


class Deaf:
    """A connection whose sending ends as if nothing had come, as `asyncio.wait_for` may."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.connected = True

    async def send_packed_command(self, command: str) -> str:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.sent.append(f"{command} while cancelled")
            return "lost"
        self.sent.append(command)
        return "sent"

    async def disconnect(self, *, nowait: bool) -> None:
        self.connected = False


class Pool:
    """A pool of them."""

    connection_class: Any = Deaf


class Client:
    """A client with its pool."""

    def __init__(self) -> None:
        self.connection_pool = Pool()


async def test_a_cancellation_that_came_while_it_sent_is_raised_and_the_connection_given_up() -> None:
    client = hearing(Client())
    connection = client.connection_pool.connection_class()
    task = asyncio.ensure_future(connection.send_packed_command("one"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert connection.sent == ["one while cancelled"]
    assert not connection.connected


async def test_who_was_cancelled_before_may_tidy_up() -> None:
    connection = hearing_class(Deaf)()
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            told.append(await connection.send_packed_command("goodbye"))

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["sent"]
    assert connection.connected


def test_each_class_is_made_once() -> None:
    assert hearing_class(Deaf) is hearing_class(Deaf)
    assert issubclass(hearing_class(Deaf), Deaf)
