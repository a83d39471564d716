"""Rollups count what is new in the ledger, once: over replays, crashes, and drainers at the same time."""

import random
import threading
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from factories.tenants import make_tenant
from factories.usage import make_entry

from substrate.crossing import system_scope
from tenants import ledger
from tenants.models import PlatformHour, Tenant, TenantDay, TenantHour, UsageDay, UsageHour, UsageRecord
from tenants.rollups import unpacked
from tenants.services import check_rollups, rebuild_rollups, store_usage
from tenants.tallies import Tally, bucket_of, percentile
from tenants.types import UsageEntry, UsageState

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODELS = (UsageHour, UsageDay, TenantHour, TenantDay, PlatformHour)
SUMS = (
    "completed", "cancelled", "failed", "prompt_tokens", "completion_tokens", "cost_nano", "first_tokens", "totals"
)  # fmt: skip


def calls(tenant: Tenant, count: int, *, seed: int = 1) -> list[UsageEntry]:
    """Calls of three days with few models, users and keys, in any order."""
    pick = random.Random(seed)
    users = [uuid.UUID(int=number) for number in range(1, 4)]
    return [
        make_entry(
            tenant.id,
            model=pick.choice(["small", "big"]),
            user_id=pick.choice([None, *users]),
            api_key_id=pick.choice([None, *users]),
            assistant=pick.choice(["", "guide"]),
            origin=pick.choice(["v1", "ws"]),
            state=pick.choice(list(UsageState)),
            prompt_tokens=pick.randrange(1000),
            completion_tokens=pick.randrange(1000),
            cost_nano=pick.randrange(10**9),
            first_token_ms=pick.choice([0, pick.randrange(1, 5000)]),
            total_ms=pick.randrange(60_000),
            started_at=NOON + timedelta(minutes=pick.randrange(3 * 1440)),
        )
        for _ in range(count)
    ]


def sums() -> dict[str, tuple[Any, ...]]:
    """What each kind of row sums to, all rows together."""
    found = {}
    with system_scope("tests", read_only=True):
        for model in MODELS:
            whole = Tally()
            for row in model._default_manager.values_list(*SUMS):
                whole.add(unpacked(row))
            found[model.__name__] = comparable(whole)
    return found


def expected(entries: Iterable[UsageEntry]) -> tuple[Any, ...]:
    """What entries sum to."""
    whole = Tally()
    for each in entries:
        whole.count(each)
    return comparable(whole)


def comparable(tally: Tally) -> tuple[Any, ...]:
    """All of a sum, in one order."""
    return (*tally.numbers(), *sorted(tally.first_tokens.items()), "then", *sorted(tally.totals.items()))


def test_every_rollup_sums_the_ledger() -> None:
    entries = calls(make_tenant(), 300) + calls(make_tenant(), 200, seed=2)
    for first in range(0, len(entries), 70):
        store_usage(entries[first : first + 70])
    assert sums() == dict.fromkeys([each.__name__ for each in MODELS], expected(entries))
    with system_scope("tests", read_only=True):
        assert TenantDay.objects.count() == 8  # noon to noon, over three days
        assert TenantHour.objects.count() < UsageHour.objects.count()
        one = UsageDay.objects.order_by("start").first()
        assert one is not None
        assert one.start.hour == 0


def test_a_replayed_spool_never_counts_twice() -> None:
    tenant = make_tenant()
    entries = calls(tenant, 100)
    store_usage(entries[:60])
    store_usage(entries)
    store_usage([*entries[50:], *entries[:10], *entries[:10]])
    assert set(sums().values()) == {expected(entries)}
    assert check_rollups() == []


def test_an_entry_twice_in_one_batch_counts_as_it_was_first() -> None:
    entry = calls(make_tenant(), 1)[0]
    other = make_entry(entry.tenant_id, record_id=entry.record_id, model="other", started_at=NOON)
    store_usage([entry, other])
    assert set(sums().values()) == {expected([entry])}


def test_a_refused_entry_is_in_neither() -> None:
    tenant = make_tenant()
    entries = calls(tenant, 20)
    store_usage([*entries, make_entry(uuid.uuid4())])
    assert set(sums().values()) == {expected(entries)}


def test_numbers_beyond_reason_neither_stop_the_drainer_nor_overflow() -> None:
    tenant = make_tenant()
    huge = {"prompt_tokens": 2**80, "cost_nano": 2**63 - 1, "started_at": NOON, "total_ms": 2**70}
    store_usage([make_entry(tenant.id, **huge), make_entry(tenant.id, **huge)])
    store_usage([make_entry(tenant.id, **huge)])
    assert {each[3] for each in sums().values()} == {2**63 - 1}
    assert {each[1] for each in sums().values()} == {3}


def test_a_crash_between_ledger_and_rollups_leaves_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = calls(make_tenant(), 30)

    def crash(_calls: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "add_calls", crash)
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            store_usage(entries)
    with system_scope("tests", read_only=True):
        assert UsageRecord.objects.count() == 0
    assert set(sums().values()) == {expected([])}
    store_usage(entries)
    assert set(sums().values()) == {expected(entries)}


@pytest.mark.parametrize("at_once", [500, 1])
def test_rebuilding_mends_what_drifted(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.services.rebuilding._TENANTS_AT_ONCE", at_once)
    first, second = make_tenant(), make_tenant()
    entries = calls(first, 120) + calls(second, 50, seed=3)
    store_usage(entries)
    right = sums()
    with system_scope("tests"):
        TenantDay.objects.filter(tenant=first).update(completed=1_000)
        UsageHour.objects.filter(tenant=second).delete()
        PlatformHour.objects.filter(model="big").update(cost_nano=0)
    found = check_rollups()
    assert {each.kind for each in found} == {"UsageHour", "TenantDay", "PlatformHour"}
    assert {each.tenant for each in found} == {first.slug, second.slug, ""}
    assert rebuild_rollups() == 170
    assert sums() == right
    assert check_rollups() == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_percentiles_are_within_five_percent(share: float) -> None:
    pick = random.Random(7)
    values = sorted(round(pick.lognormvariate(6, 1.5)) + 1 for _ in range(5_000))
    buckets: dict[int, int] = {}
    for value in values:
        buckets[bucket_of(value)] = buckets.get(bucket_of(value), 0) + 1
    exact = values[int(share * (len(values) - 1))]
    assert percentile(buckets, share) == pytest.approx(exact, rel=0.05, abs=1)


def test_no_value_has_no_percentile() -> None:
    assert percentile({}, 0.5) is None


@pytest.mark.django_db(transaction=True)
def test_two_drainers_at_once_lose_nothing() -> None:
    tenant = make_tenant()
    entries = calls(tenant, 400)
    batches = [entries[first : first + 40] for first in range(0, 400, 40)]
    failures: list[BaseException] = []

    def drain(mine: list[list[UsageEntry]]) -> None:
        try:
            for batch in mine:
                store_usage(batch)
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)
        finally:
            connection.close()

    # Half of the batches go to both, as after a claim that came too early.
    threads = [threading.Thread(target=drain, args=(mine,)) for mine in (batches[:8], batches[3:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(sums().values()) == {expected(entries)}
