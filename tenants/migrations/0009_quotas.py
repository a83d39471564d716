"""Limits, their notices, and the calendar of a tenant."""

import django.db.models.deletion
from django.db import migrations, models

import kernel.ids
from substrate.rls import IsolateTenants


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0008_custom_roles"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="timezone",
            field=models.CharField(db_default="UTC", default="UTC", max_length=64),
        ),
        migrations.CreateModel(
            name="Quota",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "level",
                    models.CharField(
                        choices=[
                            ("tenant", "tenant"),
                            ("group", "group"),
                            ("user", "user"),
                            ("key", "key"),
                            ("model", "model"),
                        ],
                        max_length=16,
                    ),
                ),
                ("subject", models.CharField(blank=True, max_length=255)),
                (
                    "measure",
                    models.CharField(
                        choices=[
                            ("requests_per_minute", "requests_per_minute"),
                            ("tokens_per_minute", "tokens_per_minute"),
                            ("concurrency", "concurrency"),
                            ("tokens_per_day", "tokens_per_day"),
                            ("tokens_per_month", "tokens_per_month"),
                            ("money_per_day", "money_per_day"),
                            ("money_per_month", "money_per_month"),
                        ],
                        max_length=32,
                    ),
                ),
                ("hard", models.BigIntegerField(blank=True, null=True)),
                ("soft", models.BigIntegerField(blank=True, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.tenant"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "level", "subject", "measure"), name="quota_once"
                    )
                ],
            },
        ),
        IsolateTenants("Quota"),
    ]
