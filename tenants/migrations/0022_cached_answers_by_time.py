"""Calls that were answered with what had been said before are found by their time."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0021_cached_answers"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(("cached", True)), fields=["started_at"], name="usage_given_again"
            ),
        ),
    ]
