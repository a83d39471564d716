"""Invitations, and what the console asks of members and keys."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0002_usage_rollups"),
    ]

    operations = []
