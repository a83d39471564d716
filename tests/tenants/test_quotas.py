"""Setting limits, and how they reach the memory of a process and the counters."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from factories.tenants import make_principal, make_tenant, make_user
from factories.usage import make_entry

from kernel.backends import backends
from kernel.errors import BadInput, Conflict, NotFound, PermissionDenied, Stale
from substrate.models import Change, TenantAct
from substrate.ports import ChangeEvent
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.adapters.file_spool import FileUsageSpool
from tenants.adapters.memory_counters import MemoryCounters
from tenants.limit_directory import LimitDirectory
from tenants.limit_types import Level, Limit, LineKind, Measure, TenantLimits
from tenants.models import Group, GroupMember, Membership, Quota, Tenant
from tenants.periods import moment_of, period_bounds
from tenants.planning import Subjects, line_of, make_plan
from tenants.services import record_usage, seed_counters, set_tenant_limits, store_usage
from tenants.services.quotas import (
    QuotaAsked,
    change_quota,
    create_quota,
    delete_quota,
    parse_money,
)
from tenants.types import Role

REQUESTS = Measure.REQUESTS_PER_MINUTE


def run(*arguments: str) -> dict:
    out = StringIO()
    call_command("set_quota", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.django_db(transaction=True)
class TestCommand:
    def test_it_sets_changes_and_takes_away(self) -> None:
        tenant = make_tenant("acme")
        told = run(
            "--tenant", "acme", "--requests-per-minute", "600", "--tokens-per-minute", "90000",
            "--max-concurrency", "8", "--monthly-budget", "250.50",
        )  # fmt: skip
        assert told["limits"] == {
            "concurrency": {"hard": 8, "soft": None},
            "money_per_month": {"hard": 250_500_000_000, "soft": None},
            "requests_per_minute": {"hard": 600, "soft": None},
            "tokens_per_minute": {"hard": 90_000, "soft": None},
        }
        told = run("--tenant", "acme", "--requests-per-minute", "60", "--warn-at", "80")
        assert told["limits"]["requests_per_minute"] == {"hard": 60, "soft": 48}
        assert len(told["limits"]) == 4
        told = run("--tenant", "acme", "--monthly-budget", "unlimited", "--max-concurrency", "unlimited")
        assert set(told["limits"]) == {"requests_per_minute", "tokens_per_minute"}
        assert Change.objects.filter(kind="quota", tenant_id=tenant.id).exists()
        with tenant_scope(tenant.id):
            assert TenantAct.objects.filter(kind="quota").count() == 7

    def test_it_limits_what_is_kept(self) -> None:
        make_tenant("acme")
        told = run(
            "--tenant", "acme", "--storage-bytes", "5000000000", "--documents", "100", "--warn-at", "90"
        )
        assert told["limits"] == {
            "documents": {"hard": 100, "soft": 90},
            "storage_bytes": {"hard": 5_000_000_000, "soft": 4_500_000_000},
        }

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--documents", "-1"],
            ["--requests-per-minute", "0"],
            ["--requests-per-minute", "-5"],
            ["--requests-per-minute", "many"],
            ["--requests-per-minute", "99999999999999"],
            ["--monthly-budget", "-1"],
            ["--monthly-budget", "1e30"],
            ["--monthly-budget", "0.0000000001"],
            ["--monthly-budget", "NaN"],
            ["--warn-at", "80"],
            ["--requests-per-minute", "5", "--warn-at", "0"],
        ],
    )
    def test_what_means_nothing_is_refused_and_nothing_stored(self, arguments: list[str]) -> None:
        tenant = make_tenant("acme")
        with pytest.raises(CommandError) as caught:
            call_command("set_quota", "--tenant", "acme", *arguments)
        assert "\n" not in str(caught.value)
        with tenant_scope(tenant.id):
            assert not Quota.objects.exists()

    def test_all_or_none(self) -> None:
        tenant = make_tenant()
        with pytest.raises(BadInput):
            set_tenant_limits(tenant_id=tenant.id, limits={REQUESTS: 5, Measure.CONCURRENCY: 0})
        with tenant_scope(tenant.id):
            assert not Quota.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestQuotas:
    def test_the_platform_limits_the_tenant_and_its_admins_limit_who_is_in_it(self) -> None:
        tenant = make_tenant()
        admin = make_principal(tenant, role=Role.ADMIN)
        own = QuotaAsked(Level.TENANT, "", REQUESTS, 5)
        with pytest.raises(PermissionDenied):
            create_quota(principal=admin, asked=own)
        with pytest.raises(PermissionDenied):
            create_quota(principal=make_principal(tenant), asked=QuotaAsked(Level.USER, "", REQUESTS, 5))
        operator = make_principal(tenant, role=Role.OWNER, is_operator=True)
        assert create_quota(principal=operator, asked=own).hard == 5
        someone = make_principal(tenant)
        made = create_quota(
            principal=admin, asked=QuotaAsked(Level.USER, str(someone.user_id), REQUESTS, 5, 4)
        )
        assert "@" in made.name
        with pytest.raises(Conflict):
            create_quota(principal=admin, asked=QuotaAsked(Level.USER, str(someone.user_id), REQUESTS, 9))

    def test_who_is_in_another_tenant_is_not_there(self) -> None:
        admin, stranger = make_principal(role=Role.ADMIN), make_principal(role=Role.ADMIN)
        with pytest.raises(NotFound):
            create_quota(principal=admin, asked=QuotaAsked(Level.USER, str(stranger.user_id), REQUESTS, 5))
        made = create_quota(principal=admin, asked=QuotaAsked(Level.USER, "", REQUESTS, 5))
        with pytest.raises(NotFound):
            change_quota(principal=stranger, quota_id=made.id, hard=9, soft=None)
        with pytest.raises(NotFound):
            delete_quota(principal=stranger, quota_id=made.id)

    def test_two_people_edit_one_limit(self) -> None:
        admin = make_principal(role=Role.ADMIN)
        made = create_quota(principal=admin, asked=QuotaAsked(Level.USER, "", REQUESTS, 5))
        changed = change_quota(principal=admin, quota_id=made.id, hard=9, soft=None, expected=made.version)
        assert (changed.hard, changed.soft) == (9, None)
        with pytest.raises(Stale):
            change_quota(principal=admin, quota_id=made.id, hard=7, soft=None, expected=made.version)
        with pytest.raises(BadInput):
            change_quota(principal=admin, quota_id=made.id, hard=7, soft=8)
        delete_quota(principal=admin, quota_id=made.id, expected=changed.version)
        with pytest.raises(NotFound):
            delete_quota(principal=admin, quota_id=made.id)


def test_money_is_exact() -> None:
    assert parse_money("0.000000001", param="x") == 1
    assert parse_money("9000000", param="x") == 9_000_000_000_000_000
    assert parse_money("12.5", param="x") == 12_500_000_000


class TestPeriods:
    def test_a_day_of_a_zone_has_23_or_25_hours_twice_a_year(self) -> None:
        spring = datetime(2026, 3, 29, 12, tzinfo=UTC)
        start, end, following = period_bounds(LineKind.DAY, spring, "Europe/Berlin")
        assert (end - start, following - end) == (23 * 3_600_000, 24 * 3_600_000)
        assert moment_of(start) == datetime(2026, 3, 28, 23, tzinfo=UTC)
        start, end, _ = period_bounds(LineKind.DAY, datetime(2026, 10, 25, 12, tzinfo=UTC), "Europe/Berlin")
        assert end - start == 25 * 3_600_000

    def test_a_month_begins_at_the_tenants_midnight(self) -> None:
        late = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
        start, end, following = period_bounds(LineKind.MONTH, late, "Europe/Berlin")
        assert moment_of(start) == datetime(2026, 1, 31, 23, tzinfo=UTC)
        assert moment_of(end) == datetime(2026, 2, 28, 23, tzinfo=UTC)
        # Summer time began in between.
        assert moment_of(following) == datetime(2026, 3, 31, 22, tzinfo=UTC)
        assert period_bounds(LineKind.MONTH, late, "UTC")[0] < start

    def test_a_zone_that_nobody_knows_is_utc(self) -> None:
        now = datetime(2026, 5, 5, 5, tzinfo=UTC)
        assert period_bounds(LineKind.DAY, now, "Mars/Base") == period_bounds(LineKind.DAY, now, "UTC")


def test_a_plan_names_each_line_once_and_ends_with_its_first_period() -> None:
    now = datetime(2026, 5, 5, 5, tzinfo=UTC)
    limits = TenantLimits(
        uuid.UUID(int=1), "UTC",
        {
            Level.TENANT: {"": (Limit(Level.TENANT, "", Measure.MONEY_PER_MONTH, 10),)},
            Level.KEY: {
                "": (Limit(Level.KEY, "", REQUESTS, 5), Limit(Level.KEY, "", Measure.TOKENS_PER_DAY, 7)),
                "k": (Limit(Level.KEY, "k", REQUESTS, 50),),
            },
        },
    )  # fmt: skip
    plan = make_plan(limits, Subjects(user="u", key="k", groups=(), models=("m",)), now)
    assert plan is not None
    assert [(line.field, line.limit) for line in plan.lines] == [
        ("tenant::money_per_month", 10),
        ("key:k:requests_per_minute", 50),
        ("key:k:tokens_per_day", 7),
    ]
    assert [rule.inherited for rule in plan.rules] == [False, False, True]
    assert moment_of(plan.ends_ms) == datetime(2026, 5, 6, tzinfo=UTC)
    assert plan.charges.reserved(tokens=9, cost=3) == (3, 1, 9)
    assert make_plan(limits, Subjects("u", "", (), ()), now) is not None
    assert make_plan(TenantLimits(limits.tenant_id, "UTC"), Subjects("u", "k", (), ()), now) is None


@pytest.fixture
async def directory() -> LimitDirectory:
    made = LimitDirectory()
    await made.start()
    return made


@pytest.mark.django_db(transaction=True)
async def test_a_change_is_in_memory_with_its_event(directory: LimitDirectory) -> None:
    tenant = await run_unit(make_tenant)
    assert await directory.find(tenant.id) is None
    await run_unit(set_tenant_limits, tenant_id=tenant.id, limits={REQUESTS: 5})
    # Nobody has told this process yet, and a tenant without limits costs no query.
    assert await directory.find(tenant.id) is None
    directory.on_change(ChangeEvent(1, "quota", tenant.id, "x"))
    found = await directory.find(tenant.id)
    assert found is not None
    assert found.of(Level.TENANT, "")[0].hard == 5
    await run_unit(Tenant.objects.filter(id=tenant.id).update, timezone="Asia/Tokyo")
    directory.on_change(ChangeEvent(2, "tenant", tenant.id, "x"))
    moved = await directory.find(tenant.id)
    assert moved is not None
    assert moved.timezone == "Asia/Tokyo"
    again = LimitDirectory()
    await again.start()
    assert await again.find(tenant.id) is not None


def _group_of(tenant: Tenant, user_id: uuid.UUID) -> uuid.UUID:
    """A group with this user alone."""
    with tenant_scope(tenant.id):
        group = Group.objects.create(tenant=tenant, name="few")
        member = Membership.objects.create(tenant=tenant, user_id=user_id)
        GroupMember.objects.create(tenant=tenant, group=group, membership=member)
    return group.id


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[FileUsageSpool]:
    made = FileUsageSpool(directory=str(tmp_path / "spool"))
    yield made
    made.close()


@pytest.mark.django_db(transaction=True)
async def test_seeds_are_what_ledger_and_spool_say_together(spool: FileUsageSpool) -> None:
    tenant = await run_unit(make_tenant)
    other = await run_unit(make_tenant)
    user, key = (await run_unit(make_user)).id, uuid.uuid4()
    counters = MemoryCounters()
    backends.replace("usage_spool", spool)
    backends.replace("counters", counters)
    try:

        def entry(tokens: int, **fields: object) -> object:
            return make_entry(
                tenant.id,
                started_at=datetime.now(UTC),
                prompt_tokens=tokens,
                completion_tokens=0,
                cost_nano=tokens * 10,
                **fields,
            )

        drained = entry(100, user_id=user, api_key_id=key)
        both = entry(20, user_id=user, api_key_id=None)
        await run_unit(store_usage, [drained, both])
        await record_usage(both)
        await record_usage(entry(3, user_id=uuid.uuid4(), api_key_id=key))
        await record_usage(make_entry(other.id, started_at=datetime.now(UTC), prompt_tokens=5000))
        now = datetime.now(UTC)
        rules = [
            Limit(Level.TENANT, "", Measure.TOKENS_PER_MONTH, 10_000),
            Limit(Level.TENANT, "", Measure.MONEY_PER_DAY, 10_000),
            Limit(Level.USER, str(user), Measure.TOKENS_PER_DAY, 10_000),
            Limit(Level.KEY, str(key), Measure.TOKENS_PER_DAY, 10_000),
            Limit(Level.MODEL, "another", Measure.TOKENS_PER_DAY, 10_000),
            Limit(Level.GROUP, str(await run_unit(_group_of, tenant, user)), Measure.TOKENS_PER_DAY, 10_000),
        ]
        lines = [line_of(rule, now, "UTC") for rule in rules]
        await seed_counters(tenant.id, list(zip(rules, lines, strict=True)))
        assert [each.used for each in await counters.read(str(tenant.id), lines)] == [
            123,
            1230,
            120,
            103,
            0,
            120,
        ]
    finally:
        await backends.close()
