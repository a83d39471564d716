"""How long a tenant keeps what."""

import django.db.models.deletion
from django.db import migrations, models

import kernel.ids
from substrate.rls import IsolateTenants


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0004_traces"),
    ]

    operations = [
        migrations.CreateModel(
            name="RetentionRule",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("conversations_days", models.PositiveIntegerField(blank=True, null=True)),
                ("files_days", models.PositiveIntegerField(blank=True, null=True)),
                ("requests_days", models.PositiveIntegerField(blank=True, null=True)),
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
                    models.UniqueConstraint(fields=("tenant",), name="retention_rule_once"),
                ],
            },
        ),
        IsolateTenants("RetentionRule"),
    ]
