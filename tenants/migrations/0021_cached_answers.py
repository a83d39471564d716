"""Which calls were answered with what had been said before."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0020_break_glass"),
    ]

    operations = [
        migrations.AddField(
            model_name="usagerecord",
            name="cached",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
