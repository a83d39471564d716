"""Processes of the installation, as they tell of themselves."""

from django.db import migrations, models

import kernel.ids


class Migration(migrations.Migration):
    dependencies = [
        ("substrate", "0003_job_progress"),
    ]

    operations = [
        migrations.CreateModel(
            name="ServerProcess",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("name", models.CharField(max_length=200, unique=True)),
                ("role", models.CharField(max_length=16)),
                ("host", models.CharField(blank=True, max_length=128)),
                ("pid", models.PositiveIntegerField(default=0)),
                ("version", models.CharField(max_length=64)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField(db_index=True)),
            ],
            options={"abstract": False},
        ),
    ]
