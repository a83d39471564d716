"""The way of slow and failed requests."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0003_invitations"),
    ]

    operations = []
