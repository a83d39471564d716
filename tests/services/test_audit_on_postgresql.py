"""The audit on PostgreSQL: what roles may do to it, what triggers refuse, and chains under many writers."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from factories.tenants import make_tenant
from fakes.audits import execute, write_acts
from fakes.clocks import FrozenClock
from fakes.postgresql import fresh_database

from substrate.audit import record_act
from substrate.audit_keeping import KEEP_ACTS, forget_old_acts
from substrate.audit_verifying import verify_platform_acts, verify_tenant_acts
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import Tenant

pytestmark = pytest.mark.services
ACTS, CHAINS = "substrate_tenantact", "substrate_tenantchain"
WRITERS, EACH = 8, 25
REFUSED = re.compile("permission denied|must be owner|append-only")


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture(scope="module")
def tenant(database: None) -> Tenant:
    made = make_tenant()
    write_acts(made.id, 3)
    record_act(act="drained", kind="replica", object_id="r")
    return made


FORBIDDEN = [
    f"UPDATE {ACTS} SET label = 'x'",
    f"UPDATE {ACTS} SET seq = NULL",
    f"DELETE FROM {ACTS}",
    f"TRUNCATE {ACTS}",
    f"UPDATE {CHAINS} SET forgotten_seq = seq",
    f"UPDATE {CHAINS} SET seq = 0",
    f"DELETE FROM {CHAINS}",
    f"ALTER TABLE {ACTS} DISABLE TRIGGER ALL",
    f"DROP TRIGGER {ACTS}_keep ON {ACTS}",
    "UPDATE substrate_platformact SET label = 'x'",
    "DELETE FROM substrate_platformact",
    "DELETE FROM substrate_platformchain",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_the_application_appends_and_nothing_else(sql: str, tenant: Tenant) -> None:
    with (
        pytest.raises(DatabaseError, match=REFUSED),
        tenant_scope(tenant.id),
    ):
        execute(sql)
    assert verify_tenant_acts(tenant_id=tenant.id).rows == 3


@pytest.mark.parametrize("sql", [each for each in FORBIDDEN if "forgotten" not in each])
def test_not_even_the_system_changes_what_was_done(sql: str, tenant: Tenant) -> None:
    with (
        pytest.raises(DatabaseError, match=REFUSED),
        system_scope("tests"),
    ):
        execute(sql)
    assert verify_tenant_acts(tenant_id=tenant.id).rows == 3


def test_old_acts_leave_by_the_front(tenant: Tenant) -> None:
    old = make_tenant()
    write_acts(old.id, 4)
    later = FrozenClock(datetime.now(UTC) + 2 * KEEP_ACTS)
    with transaction.atomic():
        assert forget_old_acts(clock=later) >= 4
        found = verify_tenant_acts(tenant_id=old.id)
        assert (found.bad, found.rows, found.forgotten) == (None, 0, 4)
        transaction.set_rollback(True)
    assert verify_tenant_acts(tenant_id=old.id).rows == 4


async def test_chains_stay_whole_under_many_writers() -> None:
    tenants = [await run_unit(make_tenant) for _ in range(2)]

    def act(number: int) -> None:
        one = tenants[number % 2]
        with tenant_scope(one.id):
            record_act(act="changed", kind="x", object_id=str(number), tenant_id=one.id)
            if number % 10 == 9:
                transaction.set_rollback(True)
        record_act(act="changed", kind="y", object_id=str(number))

    await asyncio.gather(*(run_unit(act, number) for number in range(WRITERS * EACH)))
    for one in tenants:
        found = await run_unit(verify_tenant_acts, tenant_id=one.id)
        assert found.bad is None
        assert found.rows in (80, 100)
    assert [each.bad for each in await run_unit(verify_platform_acts)] == [None]


def test_migrating_again_grants_nothing_back(tenant: Tenant) -> None:
    call_command("migrate", verbosity=0, interactive=False)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT privilege_type FROM information_schema.role_table_grants WHERE grantee = 'atrium_app' "
            "AND table_name = %s ORDER BY 1",
            [ACTS],
        )
        assert [name for (name,) in cursor.fetchall()] == ["INSERT", "SELECT"]
