"""Usage summed per hour and day, filled from the ledger that is there.

The ledger loses three indexes that only sums were read by.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from substrate.rls import IsolateTenants
from tenants.rollups import (
    Call,
    by_hour,
    day_of_tenant,
    gathered,
    of_day,
    of_platform,
    of_tenant,
    row_id,
)
from tenants.tallies import Tally, packed
from tenants.types import UsageState

AT_ONCE = 500


def sums() -> list[tuple[str, models.Field[Any, Any]]]:
    """What every such row sums."""
    return [
        ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
        ("start", models.DateTimeField()),
        ("completed", models.BigIntegerField()),
        ("cancelled", models.BigIntegerField()),
        ("failed", models.BigIntegerField()),
        ("prompt_tokens", models.BigIntegerField()),
        ("completion_tokens", models.BigIntegerField()),
        ("cost_nano", models.BigIntegerField()),
        ("first_tokens", models.BinaryField()),
        ("totals", models.BinaryField()),
    ]


def details() -> list[tuple[str, models.Field[Any, Any]]]:
    """What a detailed row sums by."""
    return [
        ("model", models.CharField(max_length=255)),
        ("user_id", models.UUIDField()),
        ("api_key_id", models.UUIDField()),
        ("assistant", models.CharField(max_length=255)),
        ("origin", models.CharField(max_length=64)),
    ]


def tenant() -> tuple[str, models.Field[Any, Any]]:
    """Whose the row is."""
    key = models.ForeignKey(
        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.tenant"
    )
    return ("tenant", key)


def fill(apps: Any, schema_editor: Any) -> None:
    """Sum what the ledger holds already, a tenant's day at a time."""
    platform: dict[Any, Tally] = {}
    for tenant_id in apps.get_model("tenants", "Tenant").objects.values_list("id", flat=True):
        for calls in _days(apps.get_model("tenants", "UsageRecord"), tenant_id):
            hours = by_hour(calls)
            tenant_hours = gathered(hours, of_tenant)
            _write(apps.get_model("tenants", "UsageHour"), hours)
            _write(apps.get_model("tenants", "UsageDay"), gathered(hours, of_day))
            _write(apps.get_model("tenants", "TenantHour"), tenant_hours)
            _write(apps.get_model("tenants", "TenantDay"), gathered(tenant_hours, day_of_tenant))
            for key, tally in gathered(hours, of_platform).items():
                platform.setdefault(key, Tally()).add(tally)
    _write(apps.get_model("tenants", "PlatformHour"), platform)


def _days(ledger: Any, tenant_id: Any) -> Iterator[list[Call]]:
    rows = ledger._base_manager.filter(tenant_id=tenant_id)
    moment = rows.order_by("started_at").values_list("started_at", flat=True).first()
    while moment is not None:
        end = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        found = rows.filter(started_at__gte=moment, started_at__lt=end).values(*Call._fields)
        yield [Call(**{**row, "state": UsageState(row["state"])}) for row in found]
        later = rows.filter(started_at__gte=end).order_by("started_at")
        moment = later.values_list("started_at", flat=True).first()


def _write(model: Any, tallies: dict[Any, Tally]) -> None:
    names = ("completed", "cancelled", "failed", "prompt_tokens", "completion_tokens", "cost_nano")
    rows = [
        model(
            id=row_id(key),
            first_tokens=packed(tally.first_tokens),
            totals=packed(tally.totals),
            **{**key._asdict(), "start": datetime.fromtimestamp(key.start, UTC)},
            **dict(zip(names, tally.numbers(), strict=True)),
        )
        for key, tally in tallies.items()
    ]
    model._base_manager.bulk_create(rows, batch_size=AT_ONCE)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.RemoveIndex("usagerecord", "usage_by_model"),
        migrations.RemoveIndex("usagerecord", "usage_by_user"),
        migrations.RemoveIndex("usagerecord", "usage_by_key"),
        migrations.CreateModel(
            name="PlatformHour",
            fields=[
                *sums(),
                ("model", models.CharField(max_length=255)),
                ("origin", models.CharField(max_length=64)),
            ],
            options={"indexes": [models.Index(fields=["start"], name="platform_hour_by_time")]},
        ),
        migrations.CreateModel(
            name="TenantDay",
            fields=[*sums(), tenant()],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["tenant", "start"], name="tenant_day_by_tenant"),
                    models.Index(
                        fields=["start", "tenant", "completed", "cancelled", "failed"],
                        name="tenant_day_by_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TenantHour",
            fields=[*sums(), tenant()],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["tenant", "start"], name="tenant_hour_by_tenant"),
                    models.Index(fields=["start"], name="tenant_hour_by_time"),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageDay",
            fields=[*sums(), tenant(), *details()],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["tenant", "start"], name="usage_day_by_tenant")],
            },
        ),
        migrations.CreateModel(
            name="UsageHour",
            fields=[*sums(), tenant(), *details()],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["tenant", "start"], name="usage_hour_by_tenant")],
            },
        ),
        IsolateTenants("TenantDay", "TenantHour", "UsageDay", "UsageHour"),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
