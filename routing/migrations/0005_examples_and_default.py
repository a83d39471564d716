"""Vectors of a policy's examples, and what the platform says for tenants that say nothing."""

from django.db import migrations, models

import kernel.ids


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0004_waking_pools"),
    ]

    operations = [
        migrations.AddField(
            model_name="choicepolicy",
            name="vectors",
            field=models.JSONField(null=True),
        ),
        migrations.CreateModel(
            name="ChoiceDefault",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("name", models.CharField(max_length=16, unique=True)),
                ("document", models.JSONField(default=dict)),
                ("vectors", models.JSONField(null=True)),
            ],
            options={"abstract": False},
        ),
    ]
