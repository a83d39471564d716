"""`seed_load` and `rebuild_rollups`: made-up load is repeatable, whole, and never put among real tenants unasked."""

import json
import os
import signal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from factories.tenants import make_tenant

from substrate.crossing import system_scope
from substrate.seeding import heal_indexes, without_indexes
from tenants.models import TenantDay, UsageRecord
from tenants.services import check_rollups, seeding

pytestmark = pytest.mark.stack

AMOUNTS = ("--tenants", "20", "--documents", "60", "--usage", "3000", "--days", "3")


def seed(*more: str) -> dict[str, Any]:
    """Run it; what it says of itself."""
    out = StringIO()
    call_command("seed_load", *AMOUNTS, "--json", *more, stdout=out, stderr=StringIO())
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def indexes() -> set[str]:
    """Names of all secondary indexes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
def test_a_seed_is_whole_and_its_rollups_agree_with_its_ledger() -> None:
    before = indexes()
    found = seed()
    assert (found["tenants"], found["jobs"]) == (20, 4_000)
    assert 2_800 <= found["usage"] <= 3_000
    assert indexes() == before
    with system_scope("tests", read_only=True):
        assert UsageRecord.objects.count() == found["usage"]
        assert TenantDay.objects.count() > 20
    assert check_rollups() == []


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_told_to_end_leaves_every_index(monkeypatch: pytest.MonkeyPatch) -> None:
    before = indexes()
    told = seeding.write_rows

    def end(model: Any, *rest: Any, **more: Any) -> Any:
        if model is UsageRecord:
            os.kill(os.getpid(), signal.SIGTERM)
        return told(model, *rest, **more)

    monkeypatch.setattr(seeding, "write_rows", end)
    with pytest.raises(CommandError, match="interrupted"):
        seed()
    assert indexes() == before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.django_db(transaction=True)
def test_a_run_heals_what_a_killed_one_left() -> None:
    before = indexes()
    dropping = without_indexes(UsageRecord, TenantDay)
    dropping.__enter__()
    gone = before - indexes()
    assert gone >= {"tenant_day_by_tenant", "tenant_day_sums_by_time"}
    # A kill leaves the note and nothing else; even a run that then refuses to write heals first.
    make_tenant("real")
    with pytest.raises(CommandError, match="tenants beside the demo's"):
        seed()
    assert indexes() == before
    assert heal_indexes() == []


@pytest.mark.django_db(transaction=True)
def test_it_stays_away_from_real_tenants() -> None:
    make_tenant("real")
    with pytest.raises(CommandError, match="tenants beside the demo's"):
        seed()
    assert seed("--yes")["tenants"] == 20


@pytest.mark.django_db(transaction=True)
def test_drift_is_told_and_mended() -> None:
    seed()
    call_command("rebuild_rollups", "--check", stdout=StringIO())
    with system_scope("tests"):
        TenantDay.objects.update(failed=77)
    with pytest.raises(CommandError, match="TenantDay of load-00001"):
        call_command("rebuild_rollups", "--check", stdout=StringIO())
    call_command("rebuild_rollups", stdout=StringIO(), stderr=StringIO())
    call_command("rebuild_rollups", "--check", stdout=StringIO())


@pytest.mark.parametrize("wrong", [("--tenants", "0"), ("--usage", "-1"), ("--days", "0")])
@pytest.mark.django_db
def test_numbers_without_sense_are_refused(wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="above zero"):
        seed(*wrong)
