"""Upgrades from outside: two migrates at once, and every process over a schema that is too old or too new."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
GUNICORN = ["-m", "gunicorn", "config.asgi:application", "--worker-class", "config.server.AtriumWorker"]
PROCESSES = {
    "gunicorn": [*GUNICORN, "--workers", "1", "--bind", "127.0.0.1:0", "--no-control-socket"],
    "run_worker": ["manage.py", "run_worker"],
    "celery worker": ["-m", "celery", "-A", "config", "worker", "--concurrency=1", "--pool=solo"],
    "celery beat": ["-m", "celery", "-A", "config", "beat", "--pidfile="],
    "command": ["manage.py", "create_tenant", "acme", "--name", "Acme"],
}


def variables(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}
    return {**kept, "ATRIUM_HOME": str(home), "PYTHONPATH": f"{ROOT}/platform:{ROOT}"}


def run(home: Path, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=variables(home),
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def migrating(home: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    return subprocess.Popen(command, cwd=ROOT, env=variables(home), stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("upgrades")
    done = run(home, "manage.py", "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def too_old(migrated: Path) -> Iterator[Path]:
    with sqlite3.connect(migrated / "atrium.sqlite3") as database:
        (row,) = database.execute(
            "SELECT name FROM django_migrations WHERE app = 'tenants' ORDER BY name DESC LIMIT 1"
        )
        database.execute("DELETE FROM django_migrations WHERE app = 'tenants' AND name = ?", row)
    yield migrated
    with sqlite3.connect(migrated / "atrium.sqlite3") as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('tenants', ?, '2026-01-01')", row
        )


@pytest.fixture
def too_new(migrated: Path) -> Iterator[Path]:
    with sqlite3.connect(migrated / "atrium.sqlite3") as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('tenants', '9999_future', '2026-01-01')"
        )
    yield migrated
    with sqlite3.connect(migrated / "atrium.sqlite3") as database:
        database.execute("DELETE FROM django_migrations WHERE name = '9999_future'")


@pytest.mark.parametrize("process", PROCESSES)
def test_no_process_runs_over_an_old_schema(too_old: Path, process: str) -> None:
    done = run(too_old, *PROCESSES[process])

    assert done.returncode != 0
    assert said(done).count("older than this version of Atrium") == 1
    assert "manage.py migrate" in said(done)
    assert "Traceback" not in said(done)


@pytest.mark.parametrize("process", PROCESSES)
def test_no_process_runs_over_a_newer_schema(too_new: Path, process: str) -> None:
    done = run(too_new, *PROCESSES[process])

    assert done.returncode != 0
    assert said(done).count("newer than this version of Atrium") == 1
    assert "Traceback" not in said(done)


def test_serve_refuses_a_newer_schema_with_one_line(too_new: Path) -> None:
    done = run(too_new, "manage.py", "serve", "--no-demo")

    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert "newer than this version of Atrium" in done.stderr


def test_a_second_migrate_waits_and_says_so(tmp_path: Path) -> None:
    database = tmp_path / "atrium.sqlite3"
    with Path(f"{database}.migrate-lock").open("w") as held, migrating(tmp_path) as second:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert second.stderr is not None
        assert second.stderr.readline() == "Another `migrate` is at work on this database; waiting for it.\n"
        time.sleep(0.5)
        assert second.poll() is None
        assert tables(database) == set()
        fcntl.flock(held, fcntl.LOCK_UN)
        assert second.wait(60) == 0
        assert second.stderr.read() == ""
    assert "django_migrations" in tables(database)


def test_two_migrates_at_once_both_end_well(tmp_path: Path) -> None:
    with migrating(tmp_path) as first, migrating(tmp_path) as second:
        outcomes = [(process.communicate(timeout=90)[1], process.returncode) for process in (first, second)]

    assert [code for _, code in outcomes] == [0, 0], outcomes
    with sqlite3.connect(tmp_path / "atrium.sqlite3") as database:
        rows = database.execute("SELECT app, name, count(*) FROM django_migrations GROUP BY 1, 2").fetchall()
    assert len(rows) > 20
    assert all(count == 1 for _, _, count in rows)


def tables(database: Path) -> set[str]:
    with sqlite3.connect(database) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr
