"""One more reason why a webhook is stopped."""

from typing import ClassVar

from django.db import migrations, models


class MoreChoices(migrations.AlterField):
    """Older rows are whole, so that a backup from before can be restored: what a value may be is all that changes."""


class Migration(migrations.Migration):
    """See above."""

    dependencies: ClassVar = [
        ("tenants", "0025_who_asked_for_a_deletion"),
    ]

    operations: ClassVar = [
        MoreChoices(
            model_name="webhook",
            name="stopped",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", ""),
                    ("by_hand", "by_hand"),
                    ("failing", "failing"),
                    ("gone", "gone"),
                    ("secret", "secret"),
                ],
                default="",
                max_length=16,
            ),
        ),
    ]
