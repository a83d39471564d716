"""Runs where SQLite cannot try them: many writers at once, rows behind row-level security."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from factories.tenants import make_principal, make_tenant
from fakes.desk import Desk
from fakes.engines import Act
from fakes.postgresql import fresh_database

from assistants import selectors
from assistants.models import Message
from assistants.ownership import owner_of
from assistants.services import (
    close_runs,
    create_conversation,
    find_message,
    follow_run,
    start_run,
    stop_run,
    sweep_runs,
)
from assistants.services.transcripts import NewRun, open_run
from assistants.types import MessageState, StartedRun
from kernel.backends import backends
from kernel.ids import uuid7
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.types import Role

pytestmark = pytest.mark.services


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    """A new database for this module."""
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """This process, with one model `tiny`."""
    tenant = await run_unit(make_tenant, f"t-{uuid.uuid4().hex[:8]}")
    made = Desk(tenant, await run_unit(make_principal, tenant, role=Role.ADMIN))
    made.be_process()
    yield made
    await close_runs()
    await backends.close()


async def ask(desk: Desk, **given: Any) -> StartedRun:
    """Start a Run."""
    values: dict[str, Any] = {"request_id": uuid.uuid4().hex, "content": "hello?", "model": "tiny"}
    return await start_run(principal=desk.principal, **{**values, **given})


async def end_of(desk: Desk, run: StartedRun) -> str:
    """The kind of a Run's last event."""
    kinds = [
        event.body["type"] async for event in follow_run(principal=desk.principal, message_id=run.message_id)
    ]
    return kinds[-1]


async def test_one_request_at_once_from_many_sockets(desk: Desk) -> None:
    """Real concurrency: one row wins, all get it."""
    request_id = uuid.uuid4().hex
    runs = await asyncio.gather(*(ask(desk, request_id=request_id) for _ in range(10)))
    assert len({run.message_id for run in runs}) == 1
    assert await end_of(desk, runs[0]) == "message.completed"
    assert len(desk.engine.calls) == 1


async def test_many_questions_at_once_in_one_conversation(desk: Desk) -> None:
    """Positions have no gap and no two messages share one."""
    talk = await run_unit(create_conversation, principal=desk.principal)
    runs = await asyncio.gather(*(ask(desk, conversation_id=talk.id) for _ in range(10)))
    assert {await end_of(desk, run) for run in runs} == {"message.completed"}

    def positions() -> list[int]:
        with tenant_scope(desk.tenant.id, read_only=True):
            row = selectors.find_conversation(owner_of(desk.principal), talk.id)
            return [message.position for message in selectors.messages(row)]

    assert await run_unit(positions) == list(range(1, 21))


async def test_stop_and_sweep(desk: Desk) -> None:
    """The sweep sees all tenants' rows, and ends only those that nobody holds."""
    desk.engine.usual = Act(words=10_000, gap_s=0.01)
    held = await ask(desk)
    new = NewRun(desk.tenant.id, owner_of(desk.principal), uuid7(), uuid.uuid4().hex, "hello?", "", None)
    dead = await run_unit(open_run, new)
    assert await sweep_runs() == 1
    swept = await find_message(principal=desk.principal, message_id=dead.message_id)
    assert (swept.state, swept.error_code) == (MessageState.FAILED, "interrupted")
    await stop_run(principal=desk.principal, message_id=held.message_id)
    assert await end_of(desk, held) == "message.stopped"


async def test_other_tenants_rows_are_behind_a_wall(desk: Desk) -> None:
    """Even a query that forgets to name the tenant finds nothing of another's."""
    run = await ask(desk)
    await end_of(desk, run)
    other = await run_unit(make_tenant, f"t-{uuid.uuid4().hex[:8]}")

    def count() -> int:
        with tenant_scope(other.id):
            return len(list(Message.objects.raw("SELECT * FROM assistants_message")))

    assert await run_unit(count) == 0
