"""Upkeep on the real PostgreSQL: one migrate at a time, other schemas refused, retention under row-level security."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.db import connection
from factories.rows import make_row
from factories.tenants import make_tenant
from fakes.clocks import FrozenClock
from fakes.postgresql import fresh_database

from assistants.models import Conversation
from config.management.commands.migrate import MIGRATION_LOCK
from console.installation import database_bytes, versions
from knowledge.models import Document
from substrate.audit import acts_of_tenant
from substrate.processes import leave_process, list_processes, note_process
from substrate.schema import read_schema, require_schema
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import RequestTrace, RetentionRule, Tenant
from tenants.services import keep_retention_once

pytestmark = pytest.mark.services
ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)


@pytest.fixture
def empty() -> Iterator[str]:
    """The address of an empty database of its own."""
    name = f"atrium_test_{uuid.uuid4().hex[:12]}"
    url = urlunsplit(urlsplit(os.environ["ATRIUM_DATABASE_URL"])._replace(path=f"/{name}"))
    with psycopg.connect(os.environ["ATRIUM_DATABASE_URL"], autocommit=True) as login:
        login.execute(f"CREATE DATABASE {name}")
        yield url
        login.execute(f"DROP DATABASE {name} WITH (FORCE)")


def manage(url: str, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**os.environ, "ATRIUM_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(url: str, *words: str) -> tuple[int, str]:
    with manage(url, *words) as process:
        out, error = process.communicate(timeout=120)
        return process.returncode, out + error


MIGRATE = ("migrate", "--verbosity", "0")
COMMAND = ("create_tenant", "acme", "--name", "Acme")


class TestUpgrades:
    def test_a_second_migrate_waits_and_says_so(self, empty: str) -> None:
        with psycopg.connect(empty, autocommit=True) as first:
            first.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
            with manage(empty, *MIGRATE) as second:
                assert second.stderr is not None
                assert second.stderr.readline() == (
                    "Another `migrate` is at work on this database; waiting for it.\n"
                )
                assert first.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,)
                first.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
                assert second.wait(120) == 0

    def test_three_migrates_at_once_all_end_well(self, empty: str) -> None:
        with manage(empty, *MIGRATE) as a, manage(empty, *MIGRATE) as b, manage(empty, *MIGRATE) as c:
            outcomes = [(each.communicate(timeout=120), each.returncode) for each in (a, b, c)]

        assert [code for _, code in outcomes] == [0, 0, 0], outcomes
        with psycopg.connect(empty) as login:
            rows = login.execute("SELECT app, name, count(*) FROM django_migrations GROUP BY 1, 2").fetchall()
        assert len(rows) > 20
        assert all(count == 1 for _, _, count in rows)

    def test_other_schemas_are_refused_with_one_line(self, empty: str) -> None:
        code, said = run(empty, *COMMAND)
        assert (code, said.strip().splitlines()) == (
            1,
            ["CommandError: The database is empty: run `manage.py migrate` (or `manage.py prepare`) first."],
        )
        assert run(empty, *MIGRATE) == (0, "")
        with psycopg.connect(empty, autocommit=True) as login:
            login.execute("DELETE FROM django_migrations WHERE app = 'tenants' AND name = '0005_retention'")
            code, said = run(empty, *COMMAND)
            assert code == 1
            assert "older than this version of Atrium" in said
            assert len(said.strip().splitlines()) == 1
            login.execute(
                "INSERT INTO django_migrations (app, name, applied) "
                "VALUES ('tenants', '0005_retention', now()), ('tenants', '9999_future', now())"
            )
        for words in (COMMAND, MIGRATE, ("run_worker",)):
            code, said = run(empty, *words)
            assert code == 1
            assert "newer than this version of Atrium" in said
            assert len(said.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


@pytest.mark.usefixtures("database")
class TestKeeping:
    def test_the_guard_reads_as_the_owner(self) -> None:
        require_schema()
        assert read_schema().missing == read_schema(connection).missing == ()

    async def test_old_things_go_once_though_two_sweep(self) -> None:
        tenant, other = await run_unit(self._furnish)
        clock = FrozenClock(NOW)

        first, second = await asyncio.gather(
            keep_retention_once(clock=clock), keep_retention_once(clock=clock)
        )

        assert {kind: first[kind] + second[kind] for kind in first} == {
            "conversations": 450,
            "files": 3,
            "requests": 2,
        }
        assert await run_unit(self._left, tenant) == (1, 0, 0)
        assert await run_unit(self._left, other) == (1, 1, 1)
        acts = await run_unit(acts_of_tenant, tenant_id=tenant.id, limit=50)
        told = sum(int(act.label.split()[0]) for act in acts if act.object_id == "conversations")
        assert told == 450

    @staticmethod
    def _furnish() -> tuple[Tenant, Tenant]:
        tenant, other = make_tenant(), make_tenant()
        old = NOW - timedelta(days=40)
        for each, times in ((tenant, 450), (other, 1)):
            with tenant_scope(each.id):
                rows = [
                    Conversation(tenant=each, owner="user:x", title=str(number)) for number in range(times)
                ]
                Conversation.objects.bulk_create(rows)
                for _ in range(3 if each is tenant else 1):
                    make_row(Document, each)
                for _ in range(2 if each is tenant else 1):
                    make_row(RequestTrace, each)
                Conversation.objects.update(updated_at=old)
                Document.objects.update(updated_at=old)
                RequestTrace.objects.update(started_at=old)
        with tenant_scope(tenant.id):
            Conversation.objects.create(tenant=tenant, owner="user:x", title="young")
            RetentionRule.objects.create(tenant=tenant, conversations_days=30, files_days=30, requests_days=7)
        return tenant, other

    @staticmethod
    def _left(tenant: Tenant) -> tuple[int, int, int]:
        with tenant_scope(tenant.id, read_only=True):
            return (
                Conversation.objects.count(),
                Document.objects.count(),
                RequestTrace.objects.count(),
            )

    def test_the_system_page_may_ask_for_sizes_and_versions(self) -> None:
        assert database_bytes() > 1_000_000
        found = {each.part: each.version for each in versions()}
        assert int(found["postgresql"].partition(".")[0]) >= 15

    def test_processes_tell_of_themselves(self) -> None:
        note_process(role="gateway", version="1")
        note_process(role="gateway", version="1")
        assert [each.role for each in list_processes()] == ["gateway"]
        leave_process(role="gateway")
        assert list_processes() == []
