"""The way of slow and failed requests, and any metered request by its id."""

import django.db.models.deletion
from django.db import migrations, models

import kernel.ids
from substrate.rls import IsolateTenants


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0003_invitations"),
    ]

    operations = [
        migrations.CreateModel(
            name="RequestTrace",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("request_id", models.CharField(max_length=128)),
                ("trace_id", models.CharField(blank=True, max_length=32)),
                ("user_id", models.UUIDField(blank=True, null=True)),
                ("api_key_id", models.UUIDField(blank=True, null=True)),
                ("door", models.CharField(max_length=16)),
                ("route", models.CharField(blank=True, max_length=255)),
                (
                    "state",
                    models.CharField(
                        choices=[("slow", "slow"), ("failed", "failed"), ("refused", "refused")],
                        max_length=16,
                    ),
                ),
                ("status", models.PositiveSmallIntegerField(default=0)),
                ("error", models.CharField(blank=True, max_length=500)),
                ("model", models.CharField(blank=True, max_length=255)),
                ("assistant", models.CharField(blank=True, max_length=255)),
                ("pool", models.CharField(blank=True, max_length=255)),
                ("replica", models.CharField(blank=True, max_length=255)),
                ("cache", models.CharField(blank=True, max_length=16)),
                ("stream", models.BooleanField(default=False)),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("cost_nano", models.BigIntegerField(default=0)),
                ("queue_ms", models.BigIntegerField(default=0)),
                ("first_byte_ms", models.BigIntegerField(default=0)),
                ("total_ms", models.BigIntegerField(default=0)),
                ("started_at", models.DateTimeField(db_index=True)),
                ("hops", models.JSONField(default=list)),
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
                "indexes": [
                    models.Index(fields=["tenant", "started_at"], name="trace_by_time"),
                    models.Index(fields=["request_id"], name="trace_by_request"),
                ],
            },
        ),
        IsolateTenants("RequestTrace"),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(fields=["request_id"], name="usage_by_request"),
        ),
    ]
