"""A deleted assistant can be restored; its slug is free meanwhile."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="assistant",
            name="assistant_slug_per_tenant",
        ),
        migrations.AddField(
            model_name="assistant",
            name="deleted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="assistant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)),
                fields=("tenant", "slug"),
                name="assistant_slug_while_there",
            ),
        ),
    ]
