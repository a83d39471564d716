"""What was done, by whom."""

import django.db.models.deletion
from django.db import migrations, models

import kernel.ids
from substrate.rls import IsolateTenants


class Migration(migrations.Migration):
    dependencies = [
        ("substrate", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="PlatformAct",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("act", models.CharField(max_length=32)),
                ("kind", models.CharField(max_length=64)),
                ("object_id", models.CharField(max_length=128)),
                ("label", models.CharField(blank=True, max_length=255)),
                ("actor_kind", models.CharField(max_length=16)),
                ("actor", models.CharField(max_length=255)),
                ("actor_id", models.UUIDField(blank=True, null=True)),
                ("request_id", models.CharField(blank=True, max_length=128)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TenantAct",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("act", models.CharField(max_length=32)),
                ("kind", models.CharField(max_length=64)),
                ("object_id", models.CharField(max_length=128)),
                ("label", models.CharField(blank=True, max_length=255)),
                ("actor_kind", models.CharField(max_length=16)),
                ("actor", models.CharField(max_length=255)),
                ("actor_id", models.UUIDField(blank=True, null=True)),
                ("request_id", models.CharField(blank=True, max_length=128)),
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
                "indexes": [models.Index(fields=["tenant", "id"], name="act_by_tenant")],
            },
        ),
        IsolateTenants("TenantAct"),
    ]
