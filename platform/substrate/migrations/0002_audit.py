"""What was done, by whom."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("substrate", "0001_initial"),
    ]

    operations = []
