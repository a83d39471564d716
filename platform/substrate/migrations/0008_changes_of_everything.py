"""The changes after which nothing in memory is trusted are found without a look at all others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("substrate", "0007_changes_by_object"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="change",
            index=models.Index(
                condition=models.Q(("kind", "everything")), fields=["seq"], name="change_of_everything"
            ),
        ),
    ]
