"""Comparisons of answered calls with their copies: through the spool exactly once, forgotten after their time, and what
copies are in the sums of usage.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from factories.pairs import make_pair
from factories.tenants import key_client, make_tenant
from factories.usage import make_entry
from fakes.clocks import FrozenClock

from kernel.backends import backends
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.adapters.file_spool import FileUsageSpool
from tenants.models import PlatformHour, ShadowPair, Tenant, TenantHour, UsageHour
from tenants.services import drain_usage_once, forget_old_pairs, store_usage
from tenants.services.rebuilding import check_rollups, rebuild_rollups
from tenants.services.shadow_pairs import store_pairs
from tenants.spooling import decode_entry, encode_entry
from tenants.types import SHADOW, PairState, Role, UsageState
from tenants.usage_reads import Question, tallies

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


class TestTheLineOfTheSpool:
    def test_holds_a_comparison(self, tenant: Tenant) -> None:
        for entry in (
            make_pair(tenant.id),
            make_pair(tenant.id, state=PairState.FAILED, error="x", agreement=None),
        ):
            assert decode_entry(encode_entry(entry)) == entry

    def test_of_a_later_version_is_read_without_what_is_new(self, tenant: Tenant) -> None:
        usage, pair = make_entry(tenant.id), make_pair(tenant.id)
        for entry in (usage, pair):
            line = json.loads(encode_entry(entry))
            assert decode_entry(json.dumps({**line, "what_comes_later": [1]}).encode()) == entry

    @pytest.mark.parametrize("line", [b'{"kind":"pair"}', b'{"kind":"pair","record_id":3}', b"[]"])
    def test_that_is_none_is_refused(self, line: bytes) -> None:
        with pytest.raises(ValueError, match="not a usage entry"):
            decode_entry(line)


async def test_comparisons_leave_the_spool_once(tmp_path: Path) -> None:
    tenant = await run_unit(make_tenant, "acme")
    spool = FileUsageSpool(directory=str(tmp_path))
    backends.replace("usage_spool", spool)
    entry = make_pair(tenant.id, model="größer\x00model")
    for each in (entry, make_entry(tenant.id), entry, make_pair()):
        await spool.append(each)
    assert await drain_usage_once() == 4

    def row() -> ShadowPair:
        with tenant_scope(tenant.id):
            return ShadowPair.objects.get()

    found = await run_unit(row)
    assert (found.id, found.model, found.state, found.started_at) == (
        entry.record_id, "größermodel", "compared", NOW
    )  # fmt: skip
    assert (found.answered_first_ms, found.answered_cost_nano, found.answered_finish) == (120, 4_000, "stop")
    assert (found.copied_total_ms, found.copied_completion_tokens, found.copied_finish) == (
        2_000,
        60,
        "length",
    )
    assert (found.agreement, found.same) == (0.75, False)


def test_what_the_database_refuses_holds_up_nobody(tenant: Tenant) -> None:
    store_pairs([make_pair(tenant.id, started_at=None), make_pair(tenant.id)])
    with system_scope("test"):
        assert ShadowPair.objects.count() == 1


def test_they_go_when_their_time_is_over(tenant: Tenant) -> None:
    store_pairs([make_pair(tenant.id), make_pair(tenant.id, started_at=NOW - timedelta(days=31))])
    assert forget_old_pairs(clock=FrozenClock(NOW)) == 1
    assert forget_old_pairs(clock=FrozenClock(NOW)) == 0
    with system_scope("test"):
        assert ShadowPair.objects.count() == 1


class TestSumsOfUsage:
    @pytest.fixture(autouse=True)
    def used(self, tenant: Tenant) -> None:
        values: dict[str, Any] = {
            "started_at": NOW,
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "cost_nano": 100,
            "state": UsageState.COMPLETED,
        }
        store_usage(
            [
                make_entry(tenant.id, origin="v1", model="small", **values),
                make_entry(tenant.id, origin=SHADOW, model="large", **values),
            ]
        )

    def test_a_copy_is_no_request_but_costs(self, tenant: Tenant) -> None:
        with system_scope("test"):
            for model in (TenantHour, UsageHour, PlatformHour):
                rows = model._default_manager.all()
                assert sum(row.completed for row in rows) == 1
                assert sum(row.cost_nano for row in rows) == 200
            (copied,) = UsageHour.objects.filter(origin=SHADOW)
            assert (copied.completed, copied.prompt_tokens, bytes(copied.totals)) == (0, 10, b"")

    def test_rollups_and_ledger_agree(self) -> None:
        assert check_rollups() == []
        rebuild_rollups()
        assert check_rollups() == []

    def test_it_is_told_by_origin(self, tenant: Tenant) -> None:
        answer = key_client(tenant, role=Role.ADMIN).get(
            "/api/v1/usage?group_by=origin&from=2026-11-24&to=2026-11-24"
        )
        rows = {row["group"]: row for row in answer.json()["results"]}
        assert (rows["shadow"]["requests"], rows["shadow"]["cost_nano"]) == (0, 100)
        assert (rows["v1"]["requests"], rows["v1"]["prompt_tokens"]) == (1, 10)

    @pytest.mark.parametrize(("group", "found"), [("origin", SHADOW), ("model", "large"), ("", "all")])
    def test_so_it_is_in_the_ledger_of_a_part_of_an_hour(
        self, tenant: Tenant, group: str, found: str
    ) -> None:
        question = Question(NOW, NOW + timedelta(minutes=30), group=group, moment=lambda _: "all")
        with tenant_scope(tenant.id):
            tally = tallies(question)[found]
        assert (tally.requests, tally.cost_nano) == ((1, 200) if found == "all" else (0, 100))

    def test_a_day_of_copies_alone_is_told_too(self, tenant: Tenant) -> None:
        store_usage([make_entry(tenant.id, origin=SHADOW, started_at=NOW - timedelta(days=3), cost_nano=7)])
        answer = key_client(tenant, role=Role.ADMIN).get(
            "/api/v1/usage?group_by=day&from=2026-11-20&to=2026-11-24"
        )
        rows = {row["group"]: row["cost_nano"] for row in answer.json()["results"]}
        assert rows["2026-11-21"] == 7
