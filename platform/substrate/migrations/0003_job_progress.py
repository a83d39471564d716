"""How far a job has come."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("substrate", "0002_audit"),
    ]

    operations = []
