"""The acts there are become the beginning of their chains."""

import uuid
from typing import Any

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from substrate.audit_chain import GENESIS, link

BATCH = 500


def link_acts(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """One chain for each tenant that has acts, and one for the platform, in the order in which things were done."""
    TenantAct = apps.get_model("substrate", "TenantAct")
    TenantChain = apps.get_model("substrate", "TenantChain")
    for tenant_id in TenantAct.objects.order_by("tenant_id").values_list("tenant_id", flat=True).distinct():
        seq, head = _link_all(TenantAct, TenantAct.objects.filter(tenant_id=tenant_id), tenant_id)
        TenantChain.objects.create(tenant_id=tenant_id, seq=seq, head=head)
    PlatformAct = apps.get_model("substrate", "PlatformAct")
    PlatformChain = apps.get_model("substrate", "PlatformChain")
    chain = PlatformChain.objects.create()
    chain.seq, chain.head = _link_all(PlatformAct, PlatformAct.objects.all(), chain.id, chain_id=chain.id)
    chain.save()


def _link_all(model: Any, rows: Any, key: uuid.UUID, **values: Any) -> tuple[int, str]:
    seq, head = 0, GENESIS
    while batch := list(rows.filter(seq=None).order_by("id")[:BATCH]):
        for row in batch:
            seq += 1
            row.seq = seq
            row.hash = head = link(head, row, key)
            for name, value in values.items():
                setattr(row, name, value)
        model.objects.bulk_update(batch, ["seq", "hash", *values])
    return seq, head


class Migration(migrations.Migration):
    dependencies = [
        ("substrate", "0005_audit_chains"),
    ]

    operations = [
        migrations.RunPython(link_acts, migrations.RunPython.noop),
    ]
