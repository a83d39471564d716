"""Ten thousand units of work, cut short in every way there is, over two connections: none sees a row of another tenant."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections
from factories.tenants import make_key, make_tenant
from fakes.postgresql import fresh_database

from kernel.errors import Unavailable
from substrate.crossing import system_scope
from substrate.scoping import ScopeError, tenant_scope
from substrate.units import run_unit
from tenants.models import ApiKey, Tenant

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
REQUESTS, AT_ONCE, CONNECTIONS, SEED = 10_000, 250, 2, 20_261_128
TABLE = "tenants_apikey"


@pytest.fixture(scope="module")
def tenants(django_db_blocker: Any) -> Iterator[list[Tenant]]:
    """Three tenants in a database that is reached by two connections alone."""
    options = connections["default"].settings_dict["OPTIONS"]
    usual = options["pool"]
    options["pool"] = {"min_size": 1, "max_size": CONNECTIONS, "timeout": 30}
    try:
        with fresh_database(django_db_blocker):
            made = [make_tenant() for _ in range(3)]
            for number, tenant in enumerate(made):
                for _ in range(number + 2):
                    make_key(tenant)
            yield made
    finally:
        options["pool"] = usual


class Refused(Exception):
    """What a unit raises of its own."""


def foreign(tenant_id: uuid.UUID | None) -> int:
    """Rows of others that this connection shows to SQL that forgets who asks."""
    with connection.cursor() as cursor:
        if tenant_id is None:
            cursor.execute(f"SELECT count(*) FROM {TABLE}")
        else:
            cursor.execute(f"SELECT count(*) FROM {TABLE} WHERE tenant_id <> %s", [tenant_id])
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def look(tenant: Tenant, own: int, ending: str) -> int:
    """What a request does, and one of the ways in which it ends; rows that are not the tenant's."""
    with tenant_scope(tenant.id):
        seen = foreign(tenant.id)
        keys = list(ApiKey.objects.all())
        if len(keys) != own or {key.tenant_id for key in keys} != {tenant.id}:
            return 1_000_000
        if ending == "error":
            raise Refused
        if ending == "sql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")
        if ending == "row":
            ApiKey.objects.create(id=keys[0].id, tenant_id=tenant.id, prefix=keys[0].prefix)
        if ending == "slow":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.01)")
        return seen


def look_outside() -> int:
    """What is seen by who says nothing of a tenant."""
    with suppress(ScopeError):
        return 1_000_000 + ApiKey.objects.count()
    return foreign(None)


def look_everywhere(total: int) -> int:
    """The system's own look, which sees all: afterwards nobody else may."""
    with system_scope("tests", read_only=True):
        return 0 if ApiKey.objects.count() == total else 1_000_000


async def test_ten_thousand_requests_over_two_connections_see_no_foreign_row(tenants: list[Tenant]) -> None:
    chance = random.Random(SEED)
    counts = [2, 3, 4]
    ended: Counter[str] = Counter()
    seen = 0

    async def request(kind: str) -> int:
        which = chance.randrange(3)
        if kind == "outside":
            return await run_unit(look_outside)
        if kind == "everywhere":
            return await run_unit(look_everywhere, sum(counts))
        return await run_unit(look, tenants[which], counts[which], kind)

    kinds = ["fine"] * 5 + ["error", "sql", "row", "slow", "outside", "everywhere", "cancelled"]
    for _ in range(REQUESTS // AT_ONCE):
        drawn = [chance.choice(kinds) for _ in range(AT_ONCE)]
        tasks = [asyncio.ensure_future(request("slow" if kind == "cancelled" else kind)) for kind in drawn]
        for task, kind in zip(tasks, drawn, strict=True):
            if kind == "cancelled":
                asyncio.get_running_loop().call_later(chance.random() * 0.3, task.cancel)
        for kind, outcome in zip(drawn, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
            if isinstance(outcome, int):
                seen += outcome
                ended["answered"] += 1
            elif isinstance(outcome, asyncio.CancelledError):
                ended["cancelled"] += 1
                assert kind == "cancelled"
            else:
                assert isinstance(outcome, Refused | DatabaseError | IntegrityError), outcome
                assert not isinstance(outcome, Unavailable)
                ended["failed"] += 1
    assert seen == 0
    assert sum(ended.values()) == REQUESTS
    # Each way of ending was taken often.
    assert min(ended["failed"], ended["answered"]) > 1_000
    assert ended["cancelled"] > 200
    assert await run_unit(look_outside) == 0
