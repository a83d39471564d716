"""How long a tenant keeps what."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0004_traces"),
    ]

    operations = []
