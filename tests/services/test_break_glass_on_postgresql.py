"""Break-glass on PostgreSQL: conversations are read as the application's role, and an end waits for looks being taken."""

import asyncio
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from factories.tenants import make_membership, make_tenant, make_user
from fakes.postgresql import fresh_database

from assistants.models import Conversation
from assistants.services import inspect_conversation
from kernel.errors import NotFound, PermissionDenied
from substrate.audit import acts_of_tenant
from substrate.audit_verifying import verify_tenant_acts
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import BreakGlass
from tenants.services import record_look, visit_tenant
from tenants.services.break_glass import end_break_glass, open_break_glass
from tenants.types import Principal

pytestmark = pytest.mark.services
SOON_S = 0.5
READERS, EACH = 4, 10


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


@dataclass(frozen=True)
class Visit:
    """An operator in a tenant of others with an open grant, and a conversation there and one elsewhere."""

    reader: Principal
    grant: uuid.UUID
    here: uuid.UUID
    elsewhere: uuid.UUID


def begin() -> Visit:
    tenant, other, operator = make_tenant(), make_tenant(), make_user(is_operator=True)
    make_membership(make_tenant(), operator)
    talks = []
    for each in (tenant, other):
        person = make_membership(each).user
        with tenant_scope(each.id):
            talks.append(Conversation.objects.create(owner=f"user:{person.id}", title="Talk").id)
    visitor = visit_tenant(user=operator, tenant_slug=tenant.slug)
    assert visitor is not None
    grant = open_break_glass(principal=visitor, reason="Ticket 4711 is urgent", minutes=5)
    reader = visit_tenant(user=operator, tenant_slug=tenant.slug)
    assert reader is not None
    return Visit(reader, grant.id, *talks)


async def test_it_reads_this_tenant_as_the_application_and_no_other() -> None:
    visit = await run_unit(begin)
    one = await run_unit(inspect_conversation, principal=visit.reader, conversation_id=visit.here)
    assert one.title == "Talk"
    with pytest.raises(NotFound):
        await run_unit(inspect_conversation, principal=visit.reader, conversation_id=visit.elsewhere)


async def test_who_ends_a_grant_waits_for_the_look_being_taken_and_then_nothing_is_read() -> None:
    visit = await run_unit(begin)
    looking, done = threading.Event(), threading.Event()

    def look() -> None:
        with tenant_scope(visit.reader.tenant_id):
            record_look(principal=visit.reader, act="conversations_listed", told={})
            looking.set()
            assert done.wait(10)

    reading = asyncio.ensure_future(run_unit(look))
    await asyncio.to_thread(looking.wait, 10)
    ending = asyncio.ensure_future(run_unit(end_break_glass, principal=visit.reader, grant_id=visit.grant))
    finished, _ = await asyncio.wait({ending}, timeout=SOON_S)
    assert finished == set()
    done.set()
    await reading
    assert (await ending).reads == 1
    with pytest.raises(PermissionDenied, match="no grant of yours is open"):
        await run_unit(inspect_conversation, principal=visit.reader, conversation_id=visit.here)


async def test_looks_at_once_are_each_counted_and_the_chain_stays_whole() -> None:
    visit = await run_unit(begin)
    tenant_id = visit.reader.tenant_id

    def look() -> None:
        for _ in range(EACH):
            inspect_conversation(principal=visit.reader, conversation_id=visit.here)

    def counted() -> int:
        with tenant_scope(tenant_id, read_only=True):
            return BreakGlass.objects.get().reads

    await asyncio.gather(*(run_unit(look) for _ in range(READERS)))
    acts = await run_unit(acts_of_tenant, tenant_id=tenant_id, limit=200)
    assert await run_unit(counted) == READERS * EACH
    assert [each.act for each in acts].count("conversation_seen") == READERS * EACH
    assert (await run_unit(verify_tenant_acts, tenant_id=tenant_id)).bad is None
