"""What a model takes beside text."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inference", "0003_cached_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="model",
            name="tools",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name="model",
            name="images",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
