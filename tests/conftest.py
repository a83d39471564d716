"""What all tests share: an embedded installation of its own, sockets to loopback alone, no leftovers between tests."""

import atexit
import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Thousands of tests and all our modules are made and none is garbage: looking for some took half of the collection.
gc.disable()

# Settings read the environment once, at import; tests never see the developer's own installation.
_SERVICE_TESTS = os.environ.get("ATRIUM_TEST_SERVICES") == "1"
if not _SERVICE_TESTS:
    for _name in [
        name for name in os.environ if name.startswith("ATRIUM_") and not name.startswith("ATRIUM_TEST_")
    ]:
        del os.environ[_name]
_home = tempfile.mkdtemp(prefix="atrium-tests-")
os.environ["ATRIUM_HOME"] = _home


def _remove_home(owner: int = os.getpid()) -> None:
    """Remove the installation; a process that a test forked must not take it from under its parent."""
    if os.getpid() == owner:
        shutil.rmtree(_home, ignore_errors=True)


atexit.register(_remove_home)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402
import hypothesis  # noqa: E402
import pytest  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.auth.hashers import get_hashers, get_hashers_by_algorithm  # noqa: E402
from django.core.management.color import no_style  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.test import TransactionTestCase  # noqa: E402
from fakes.schema import place_schema  # noqa: E402

from kernel.actors import SYSTEM, acting  # noqa: E402

# A busy machine is no failure of the code.
hypothesis.settings.register_profile("atrium", deadline=None)
hypothesis.settings.load_profile("atrium")

# Here and not by pytest-django, which would read the settings before this file.
django.setup()

from substrate.audit_keeping import let_go_every_chain  # noqa: E402


class OutsideSocketError(RuntimeError):
    """A test tried to reach an address outside of this machine."""


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """Refuse connections to anything but loopback."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])
            if not (host.startswith("127.") or host in ("::1", "localhost")):
                raise OutsideSocketError(f"a test connected to {host}")
        real(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def nobody_acts() -> Iterator[None]:
    """Who acted in one test does not act in the next: requests of Django's test client say so for good."""
    with acting(SYSTEM):
        yield


@pytest.fixture(autouse=True, scope="session")
def quick_passwords() -> Iterator[None]:
    """Hash passwords quickly: the real hasher takes its time and memory on purpose (its choice has a test)."""
    patch = pytest.MonkeyPatch()
    patch.setattr(settings, "PASSWORD_HASHERS", ["django.contrib.auth.hashers.MD5PasswordHasher"])
    get_hashers.cache_clear()
    get_hashers_by_algorithm.cache_clear()
    yield
    patch.undo()


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest, django_db_modify_db_settings: None) -> bool:
    """Let an SQLite test database begin as a copy of the migrated one; Django then finds nothing left to migrate."""
    if connection.vendor != "sqlite":
        return bool(request.config.getvalue("reuse_db"))
    name = str(connection.creation._get_test_db_name())
    if not Path(name).exists():
        place_schema(Path(name))
    return True


# What `post_migrate` makes from the code and no test changes. Made anew after each test it would cost 50 ms.
_FROM_THE_CODE = {"django_migrations", "django_content_type", "auth_permission"}


@pytest.fixture(autouse=True, scope="session")
def quick_emptying() -> Iterator[None]:
    """After a test with transactions of its own, empty the tables and leave what follows from the code."""

    def empty(case: TransactionTestCase) -> None:
        let_go_every_chain()
        for alias in case._databases_names(include_mirrors=False):
            used = connections[alias]
            there = used.introspection.django_table_names(only_existing=True, include_views=False)
            tables = sorted(set(there) - _FROM_THE_CODE)
            used.ops.execute_sql_flush(
                used.ops.sql_flush(no_style(), tables, reset_sequences=False, allow_cascade=False)
            )

    patch = pytest.MonkeyPatch()
    patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
    yield
    patch.undo()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fail-on-skip`: the integration suite must talk to everything it names."""
    parser.addoption("--fail-on-skip", action="store_true", help="a skipped test fails the run")


def pytest_collection_finish() -> None:
    """From now on garbage is looked for among what tests make, and not among the tests."""
    gc.enable()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn skips into a failure when asked to."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--fail-on-skip") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
