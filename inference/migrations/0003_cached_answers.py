"""For how long answers of a model may be given again, and what part of its price they cost then."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inference", "0002_prices"),
    ]

    operations = [
        migrations.AddField(
            model_name="model",
            name="cache_seconds",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="model",
            name="cached_price_percent",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
    ]
