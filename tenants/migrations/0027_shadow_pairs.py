import django.db.models.deletion
from django.db import migrations, models

import kernel.ids
from substrate.rls import IsolateTenants


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0026_more_ends_of_deliveries"),
    ]

    operations = [
        migrations.CreateModel(
            name="ShadowPair",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("model", models.CharField(max_length=255)),
                ("shadow", models.CharField(max_length=255)),
                (
                    "state",
                    models.CharField(
                        choices=[("compared", "compared"), ("failed", "failed"), ("dropped", "dropped")],
                        max_length=16,
                    ),
                ),
                ("error", models.CharField(blank=True, max_length=500)),
                ("stream", models.BooleanField(default=False)),
                ("started_at", models.DateTimeField(db_index=True)),
                ("answered_first_ms", models.BigIntegerField(default=0)),
                ("answered_total_ms", models.BigIntegerField(default=0)),
                ("answered_prompt_tokens", models.BigIntegerField(default=0)),
                ("answered_completion_tokens", models.BigIntegerField(default=0)),
                ("answered_cost_nano", models.BigIntegerField(default=0)),
                ("answered_finish", models.CharField(blank=True, max_length=64)),
                ("copied_first_ms", models.BigIntegerField(default=0)),
                ("copied_total_ms", models.BigIntegerField(default=0)),
                ("copied_prompt_tokens", models.BigIntegerField(default=0)),
                ("copied_completion_tokens", models.BigIntegerField(default=0)),
                ("copied_cost_nano", models.BigIntegerField(default=0)),
                ("copied_finish", models.CharField(blank=True, max_length=64)),
                ("agreement", models.FloatField(null=True)),
                ("same", models.BooleanField(null=True)),
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
                "indexes": [models.Index(fields=["tenant", "started_at"], name="shadow_pair_by_time")],
            },
        ),
        IsolateTenants("ShadowPair"),
    ]
