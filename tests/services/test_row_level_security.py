"""The second wall: on PostgreSQL the database itself keeps tenants apart, also from SQL that forgets them."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connection, models, transaction
from factories.rows import build_row, make_row
from factories.tenants import make_tenant
from fakes.postgresql import fresh_database

from substrate.crossing import system_scope
from substrate.models import Job, TenantAct, TenantChain, TenantOwned
from substrate.scoping import APP_ROLE, SYSTEM_ROLE, tenant_scope
from substrate.units import run_unit
from tenants.models import Tenant

pytestmark = pytest.mark.services
ROOT = Path(__file__).resolve().parents[2]
OWNED: list[type[TenantOwned]] = [model for model in apps.get_models() if issubclass(model, TenantOwned)]
# What the application may append to, and neither change nor delete.
KEPT = (TenantAct, TenantChain)
each_model = pytest.mark.parametrize("model", OWNED, ids=lambda model: model._meta.label)


@dataclass
class Two:
    """Two tenants; each has a row in every table."""

    one: Tenant
    other: Tenant


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture(scope="module")
def two(database: None) -> Two:
    tenants = Two(*(make_tenant() for _ in range(2)))
    for tenant in (tenants.one, tenants.other):
        for model in OWNED:
            with tenant_scope(tenant.id):
                make_row(model, tenant)
    return tenants


def value(sql: str, *parameters: object) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
        return row[0] if row else None


def rows_of(model: type[models.Model], tenant: Tenant | None = None) -> int:
    where = " WHERE tenant_id = %s" if tenant else ""
    counted: int = value(
        f'SELECT count(*) FROM "{model._meta.db_table}"{where}', *([tenant.id] if tenant else [])
    )
    return counted


@each_model
def test_row_level_security_is_forced_and_the_application_does_not_own_the_table(
    model: type[models.Model],
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) FROM pg_class WHERE relname = %s",
            [model._meta.db_table],
        )
        enabled, forced, owner = cursor.fetchone() or (False, False, "")
    assert (enabled, forced) == (True, True)
    assert owner not in (APP_ROLE, SYSTEM_ROLE, "")


@each_model
def test_without_a_tenant_there_are_no_rows(model: type[models.Model], two: Two) -> None:
    assert value("SELECT current_user") == APP_ROLE
    assert rows_of(model) == 0
    with transaction.atomic():
        assert rows_of(model) == 0
        if model not in KEPT:
            assert value(f'DELETE FROM "{model._meta.db_table}" RETURNING 1') is None


@each_model
def test_with_a_tenant_there_are_its_rows_alone(model: type[models.Model], two: Two) -> None:
    with tenant_scope(two.one.id):
        assert rows_of(model) == rows_of(model, two.one) >= 1
        assert rows_of(model, two.other) == 0
    with tenant_scope(uuid.uuid4()):
        assert rows_of(model) == 0


@each_model
def test_rows_of_others_are_neither_changed_nor_deleted(model: type[models.Model], two: Two) -> None:
    table = model._meta.db_table
    with tenant_scope(two.one.id):
        for sql in (
            f'UPDATE "{table}" SET tenant_id = tenant_id WHERE tenant_id = %s RETURNING 1',
            f'DELETE FROM "{table}" WHERE tenant_id = %s RETURNING 1',
        ):
            if model not in KEPT:
                assert value(sql, two.other.id) is None
                continue
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                value(sql, two.other.id)


@each_model
def test_a_row_for_another_tenant_is_refused(model: type[models.Model], two: Two) -> None:
    with tenant_scope(two.one.id):
        row = build_row(model, two.one)
    row.tenant_id = two.other.id  # type: ignore[attr-defined]

    def insert() -> None:
        with tenant_scope(two.one.id):
            # Past the first wall: Django's own insert, without the scope's check.
            models.Model.save_base(row, force_insert=True, raw=True)

    with pytest.raises(DatabaseError, match="row-level security"):
        insert()


@each_model
def test_a_row_is_not_given_to_another_tenant(model: type[models.Model], two: Two) -> None:
    def give_away() -> None:
        with tenant_scope(two.one.id):
            value(f'UPDATE "{model._meta.db_table}" SET tenant_id = %s RETURNING 1', two.other.id)

    with pytest.raises(DatabaseError, match="permission denied" if model in KEPT else "row-level security"):
        give_away()


@each_model
def test_the_system_sees_all(model: type[models.Model], two: Two) -> None:
    with system_scope("tests"):
        assert value("SELECT current_user") == SYSTEM_ROLE
        assert rows_of(model, two.one) >= 1
        assert rows_of(model, two.other) >= 1


def test_a_scope_leaves_nothing_on_the_connection(two: Two) -> None:
    def fail() -> None:
        with tenant_scope(two.one.id):
            value("SELECT 1/0")

    for _ in range(3):
        with tenant_scope(two.one.id), tenant_scope(two.one.id):
            assert value("SELECT current_setting('app.tenant_id', true)") == str(two.one.id)
        with pytest.raises(DatabaseError):
            fail()
        with system_scope("tests"):
            pass
        assert value("SELECT coalesce(current_setting('app.tenant_id', true), '')") == ""
        assert value("SELECT current_user") == APP_ROLE


def test_inside_the_system_a_tenant_narrows_and_widens_again(two: Two) -> None:
    def fail() -> None:
        with tenant_scope(two.one.id):
            value("SELECT 1/0")

    with system_scope("tests"):
        with tenant_scope(two.one.id):
            assert (value("SELECT current_user"), rows_of(Job, two.other)) == (APP_ROLE, 0)
        assert (value("SELECT current_user"), rows_of(Job, two.other)) == (SYSTEM_ROLE, 1)
        with pytest.raises(DatabaseError):
            fail()
        assert (value("SELECT current_user"), rows_of(Job, two.other)) == (SYSTEM_ROLE, 1)


@pytest.mark.parametrize("scope", [None, "tenant", "system"])
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE mine (x int)",
        "ALTER TABLE substrate_job DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant_rows ON substrate_job",
        "DROP TABLE substrate_job",
        "TRUNCATE substrate_job CASCADE",
        "DELETE FROM django_migrations",
    ],
)
def test_structure_is_the_owners_business(two: Two, scope: str | None, sql: str) -> None:
    def act() -> None:
        if scope == "tenant":
            with tenant_scope(two.one.id):
                value(sql)
        elif scope == "system":
            with system_scope("tests"):
                value(sql)
        else:
            with transaction.atomic():
                value(sql)

    with pytest.raises(DatabaseError):
        act()


def test_the_wall_is_not_switched_off_by_a_setting(two: Two) -> None:
    def act() -> None:
        with tenant_scope(two.one.id):
            value("SELECT set_config('row_security', 'off', true)")
            rows_of(Job)

    with pytest.raises(DatabaseError, match="row-level security"):
        act()


def test_the_roles_have_no_power_of_their_own() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcanlogin FROM pg_roles"
            " WHERE rolname IN (%s, %s) ORDER BY rolname",
            [APP_ROLE, SYSTEM_ROLE],
        )
        assert cursor.fetchall() == [(APP_ROLE, False), (SYSTEM_ROLE, False)]
    assert value("SELECT pg_has_role(%s, %s, 'MEMBER')", APP_ROLE, SYSTEM_ROLE) is False


async def test_pooled_connections_never_carry_a_tenant_over(two: Two) -> None:
    def look(tenant: Tenant, number: int) -> int:
        with tenant_scope(tenant.id):
            seen: int = value("SELECT count(*) FROM substrate_job WHERE tenant_id <> %s", tenant.id)
            if number % 10 == 0:
                value("SELECT 1/0")
            return seen

    def look_without() -> int:
        counted: int = value("SELECT count(*) FROM substrate_job")
        return counted

    work = [run_unit(look, (two.one, two.other)[number % 2], number) for number in range(400)]
    seen = await asyncio.gather(*work, *(run_unit(look_without) for _ in range(100)), return_exceptions=True)
    assert {each for each in seen if isinstance(each, int)} == {0}
    assert sum(isinstance(each, DatabaseError) for each in seen) == 40
    assert not [each for each in seen if not isinstance(each, int | DatabaseError)]


def test_migrating_again_changes_nothing_and_the_process_goes_on_as_before() -> None:
    call_command("migrate", verbosity=0, interactive=False)
    assert value("SELECT current_user") == APP_ROLE
    assert connection.settings_dict["OPTIONS"]["pool"]


@pytest.fixture
def scratch() -> Iterator[str]:
    """An empty database of a new login that may make roles and is no superuser."""
    administrator = os.environ["ATRIUM_TEST_POSTGRES_SUPERUSER_URL"]
    parts, name = urlsplit(administrator), f"atrium_scratch_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(administrator, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'scratch'")
        admin.execute(f"CREATE DATABASE {name} OWNER {name}")
        yield f"postgres://{name}:scratch@{parts.hostname}:{parts.port}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.execute(f"DROP ROLE {name}")


def test_an_empty_database_is_migrated_by_a_login_that_is_no_superuser(scratch: str, tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("ATRIUM_")} | {
        "ATRIUM_HOME": str(tmp_path),
        "ATRIUM_DATABASE_URL": scratch,
        "ATRIUM_KEYRING": os.environ.get("ATRIUM_KEYRING", "1:" + "A" * 43 + "="),
    }
    together = [
        subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in together:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors.decode()
    with psycopg.connect(scratch, autocommit=True) as login:
        forced = login.execute("SELECT relname FROM pg_class WHERE relforcerowsecurity").fetchall()
        assert {name for (name,) in forced} == {model._meta.db_table for model in OWNED}
        login.execute(f"SET ROLE {APP_ROLE}")
        assert login.execute("SELECT count(*) FROM substrate_job").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            login.execute("CREATE TABLE mine (x int)")
