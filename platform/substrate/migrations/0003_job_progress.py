"""How far a job has come; jobs that were cancelled."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("substrate", "0002_audit"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.AddField("job", "progress_done", models.PositiveIntegerField(blank=True, null=True)),
        migrations.AddField("job", "progress_total", models.PositiveIntegerField(blank=True, null=True)),
        migrations.AddField(
            "job", "progress_message", models.CharField(blank=True, db_default="", max_length=200)
        ),
        migrations.AlterField(
            "job",
            "state",
            models.CharField(
                choices=[
                    ("queued", "Queued"),
                    ("running", "Running"),
                    ("done", "Done"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                ],
                default="queued",
                max_length=16,
            ),
        ),
        migrations.AddIndex(
            "job", models.Index(fields=["tenant", "state", "id"], name="job_by_tenant_state")
        ),
    ]
