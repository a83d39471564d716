"""The usage ledger on the real PostgreSQL: written by one statement, once each, seen by its own tenant alone."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from factories.tenants import make_tenant
from factories.usage import make_entry
from fakes.postgresql import fresh_database

from substrate.scoping import tenant_scope
from tenants.models import UsageRecord
from tenants.services import store_usage

pytestmark = pytest.mark.services


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


def rows_of(tenant_id: uuid.UUID) -> list[UsageRecord]:
    with tenant_scope(tenant_id):
        return list(UsageRecord.objects.order_by("record_id"))


def test_entries_count_once_for_their_own_tenant() -> None:
    mine, other = make_tenant(), make_tenant()
    entries = [make_entry(mine.id, user_id=uuid.uuid4()), make_entry(mine.id), make_entry(other.id)]
    entries.append(make_entry(uuid.uuid4()))  # of a tenant that is gone
    store_usage(entries)
    store_usage([*entries, make_entry(mine.id)])
    stored = rows_of(mine.id)
    assert len(stored) == 3
    assert len(rows_of(other.id)) == 1
    first = next(row for row in stored if row.record_id == entries[0].record_id)
    assert (first.user_id, first.cost_nano, first.started_at) == (
        entries[0].user_id,
        entries[0].cost_nano,
        entries[0].started_at,
    )
    assert first.error == "line\nbreak"
    assert first.estimated is True
