"""Documents are found in long lists; what is deleted can be restored for some days."""

import django.db.models.deletion
from django.db import migrations, models

import kernel.ids
from substrate.rls import IsolateTenants

ORDERS = {
    "state": "document_in_base_state",
    "title": "document_in_base_title",
    "size": "document_in_base_size",
    "chunk_count": "document_in_base_chunks",
    "updated_at": "document_in_base_changed",
}


class Migration(migrations.Migration):
    dependencies = [
        ("knowledge", "0001_initial"),
        ("tenants", "0001_initial"),
    ]

    operations = [
        *(
            migrations.AddIndex(
                "document", models.Index(fields=["tenant", "knowledge_base", column, "id"], name=name)
            )
            for column, name in ORDERS.items()
        ),
        migrations.AddField("knowledgebase", "deleted_at", models.DateTimeField(blank=True, null=True)),
        migrations.RemoveConstraint("knowledgebase", "knowledge_base_name_once"),
        migrations.AddConstraint(
            "knowledgebase",
            models.UniqueConstraint(
                fields=["tenant", "name"],
                condition=models.Q(("deleted_at", None)),
                name="knowledge_base_name_while_there",
            ),
        ),
        migrations.CreateModel(
            name="RemovedDocument",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=kernel.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("knowledge_base_id", models.UUIDField()),
                ("title", models.CharField(max_length=500)),
                ("blob_key", models.CharField(max_length=200)),
                ("kept", models.JSONField()),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.tenant"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(
                        fields=["tenant", "knowledge_base_id", "-created_at"], name="removed_document_by_base"
                    )
                ],
            },
        ),
        IsolateTenants("RemovedDocument"),
    ]
