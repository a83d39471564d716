"""Notes beside a read are left out while somebody else's transaction holds the database."""

import sqlite3
import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection, transaction
from factories.tenants import key_client, make_tenant

from substrate.crossing import system_scope
from substrate.patience import giving_way
from tenants.models import ApiKey, Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db(transaction=True)


def busy_timeout() -> int:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        return int(cursor.fetchone()[0])


def holder() -> sqlite3.Connection:
    """Somebody who writes, for as long as the connection is open."""
    name = str(connection.settings_dict["NAME"])
    other = sqlite3.connect(name, uri=name.startswith("file:"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.fixture
def held() -> Iterator[None]:
    other = holder()
    yield
    other.execute("ROLLBACK")
    other.close()


def test_a_note_is_left_out_and_the_wait_is_as_before(held: None) -> None:
    usual, began = busy_timeout(), time.monotonic()
    with giving_way(), system_scope("tests"):
        Tenant.objects.update(name="never")
    assert time.monotonic() - began < 2
    assert busy_timeout() == usual
    with system_scope("tests", read_only=True):
        assert not Tenant.objects.filter(name="never").exists()


def test_within_a_transaction_a_failure_is_told() -> None:
    with transaction.atomic(), pytest.raises(OperationalError), giving_way():
        raise OperationalError("somebody else's")


def test_who_only_reads_is_answered_while_somebody_else_writes() -> None:
    client = key_client(make_tenant(), role=Role.OWNER)
    other = holder()
    began = time.monotonic()
    assert client.get("/api/v1/me").status_code == 200
    assert time.monotonic() - began < 3
    other.execute("ROLLBACK")
    other.close()
    with system_scope("tests", read_only=True):
        assert ApiKey.objects.get().last_used_at is None
    assert client.get("/api/v1/me").status_code == 200
    with system_scope("tests", read_only=True):
        assert ApiKey.objects.get().last_used_at is not None
