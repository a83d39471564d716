"""Who handed in a document: what users and groups may keep is counted by it."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """See above. Nothing tells who handed in what is there already: it counts for the tenant alone."""

    dependencies: ClassVar = [
        ("knowledge", "0002_listing"),
    ]

    operations: ClassVar = [
        migrations.AddField("document", "user_id", models.UUIDField(blank=True, null=True)),
        migrations.AddIndex(
            "document",
            models.Index(fields=["tenant", "user_id", "knowledge_base", "size"], name="document_by_user"),
        ),
    ]
