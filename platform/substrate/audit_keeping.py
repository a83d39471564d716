"""What becomes of acts with time: old ones are let go, loose ones linked, and a restored backup begins a new chain.

Nothing but a whole beginning of a chain is ever let go: the chain remembers the link that the rest stands on.
"""

import uuid
from datetime import datetime, timedelta

from django.db.models import Max, Min, QuerySet

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.audit import append_acts, open_platform_chain
from substrate.audit_chain import link
from substrate.crossing import system_scope
from substrate.models import PlatformAct, PlatformChain, TenantAct, TenantChain

KEEP_ACTS = timedelta(days=400)
BATCH = 1_000


def forget_old_acts(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete acts older than 400 days, of each chain its beginning; returns how many."""
    before = clock.now() - KEEP_ACTS
    with system_scope("forget old acts"):
        old = TenantAct.objects.filter(created_at__lt=before, seq__isnull=False)
        tenants = list(old.order_by().values_list("tenant_id", flat=True).distinct())
        gone = sum(
            _forget(chain, TenantAct.objects.filter(tenant_id=chain.tenant_id), before)
            for chain in TenantChain.objects.select_for_update().filter(tenant_id__in=tenants)
        )
        return gone + sum(
            _forget(chain, PlatformAct.objects.filter(chain=chain), before)
            for chain in PlatformChain.objects.select_for_update()
        )


def _forget(
    chain: TenantChain | PlatformChain, rows: QuerySet[TenantAct] | QuerySet[PlatformAct], before: datetime
) -> int:
    """Let go what lies before the first row that is young enough, though its clock may have gone wrong."""
    young: int | None = rows.filter(created_at__gte=before).aggregate(first=Min("seq"))["first"]
    last = rows.filter(seq=(young - 1 if young is not None else chain.seq)).first()
    if last is None or last.seq is None or last.seq <= chain.forgotten_seq:
        return 0
    chain.forgotten_seq, chain.forgotten_hash = last.seq, last.hash
    chain.save(update_fields=["forgotten_seq", "forgotten_hash", "updated_at"])
    return rows.filter(seq__lte=last.seq).delete()[0]


def let_go_chain(*, tenant_id: uuid.UUID) -> None:
    """Allow that all of a tenant's acts are deleted: the tenant itself is. In the system scope at hand."""
    _let_go(TenantChain.objects.filter(tenant_id=tenant_id))


def delete_acts_of(*, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to `limit` acts of a tenant that is deleted, at last its chain; returns how many rows went."""
    with system_scope("delete the acts of a deleted tenant"):
        let_go_chain(tenant_id=tenant_id)
        ids = list(TenantAct.objects.filter(tenant_id=tenant_id).values_list("id", flat=True)[:limit])
        if ids:
            return TenantAct.objects.filter(id__in=ids).delete()[0]
        return TenantChain.objects.filter(tenant_id=tenant_id).delete()[0]


def let_go_all_chains() -> None:
    """Allow that the acts of all tenants are deleted: others will take their place. In the system scope at hand."""
    _let_go(TenantChain.objects.all())


def let_go_every_chain() -> None:
    """Allow that every act is deleted, the platform's too: the database is emptied."""
    with system_scope("empty the database"):
        _let_go(TenantChain.objects.all())
        _let_go(PlatformChain.objects.all())


def _let_go(chains: QuerySet[TenantChain] | QuerySet[PlatformChain]) -> None:
    for chain in chains.select_for_update():
        chain.forgotten_seq, chain.forgotten_hash = chain.seq, chain.head
        chain.save(update_fields=["forgotten_seq", "forgotten_hash", "updated_at"])


def link_loose_acts() -> int:
    """Link acts that a process of an older version wrote without a place in their chain; returns how many."""
    with system_scope("link loose acts"):
        count = 0
        tenants = TenantAct.objects.filter(seq=None).order_by().values_list("tenant_id", flat=True).distinct()
        for tenant_id in list(tenants):
            count += _link_loose(TenantAct.objects.filter(tenant_id=tenant_id, seq=None), tenant_id)
        return count + _link_loose(PlatformAct.objects.filter(seq=None), None)


def _link_loose(loose: QuerySet[TenantAct] | QuerySet[PlatformAct], tenant_id: uuid.UUID | None) -> int:
    count = 0
    while rows := list(loose.order_by("id")[:BATCH]):
        chain: TenantChain | PlatformChain
        if tenant_id is None:
            chain = open_platform_chain()
        else:
            # Makes the chain when there is none.
            append_acts(tenant_id=tenant_id, rows=[])
            chain = TenantChain.objects.select_for_update().get(tenant_id=tenant_id)
        for row in rows:
            chain.seq += 1
            row.seq = chain.seq
            if isinstance(row, PlatformAct):
                row.chain_id = chain.id
            row.hash = chain.head = link(chain.head, row, tenant_id or chain.id)
            row.save()
        chain.save(update_fields=["seq", "head", "updated_at"])
        count += len(rows)
    return count


def settle_restored_acts(*, clock: Clock = SYSTEM_CLOCK) -> None:
    """After a restore, in its transaction: every chain ends where its rows end, and the platform begins a new one.

    Rows of a chain of the platform may be here already, as far or further than the backup's; what this installation had
    let go before is let go again. An installation that goes on beside the one it was restored from never shares a chain
    with it.
    """
    link_loose_acts()
    for chain in PlatformChain.objects.select_for_update():
        rows = PlatformAct.objects.filter(chain=chain)
        newest: int = rows.aggregate(newest=Max("seq"))["newest"] or 0
        if newest > chain.seq:
            last = rows.get(seq=newest)
            chain.seq, chain.head = newest, last.hash
        chain.closed_at = chain.closed_at or clock.now()
        chain.save()
        rows.filter(seq__lte=chain.forgotten_seq).delete()
    PlatformChain.objects.create()
