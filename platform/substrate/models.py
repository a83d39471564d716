"""Rows every app stands on. `TenantOwned` is the base of all rows that belong to a tenant."""

import uuid
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from kernel.ids import uuid7
from substrate.audit_chain import GENESIS
from substrate.scoping import ScopedManager, ScopeError, current_scope


class Identified(models.Model):
    """A row with a time-ordered id and its moments of creation and last change."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        """Abstract base."""

        abstract = True


class TenantOwned(Identified):
    """A row of one tenant. Reading or writing it outside of a scope, or in another tenant's scope, raises ScopeError.

    Every subclass has an index that starts with the tenant, and row-level security on PostgreSQL.
    """

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+")
    tenant_id: uuid.UUID

    objects = ScopedManager()

    class Meta:
        """Abstract base. The scoped manager is also the base manager, so that cascades and refreshes are scoped."""

        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the row; a missing tenant is taken from the scope, a foreign one raises ScopeError."""
        scope = current_scope()
        if scope.tenant_id is not None:
            if self.tenant_id is None:
                self.tenant_id = scope.tenant_id
            elif self.tenant_id != scope.tenant_id:
                raise ScopeError("a row of another tenant would have been written")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the row; outside of a scope, or in another tenant's, raises ScopeError."""
        if current_scope().tenant_id not in (None, self.tenant_id):
            raise ScopeError("a row of another tenant would have been deleted")
        return super().delete(*args, **kwargs)


class Change(models.Model):
    """One edit of something that processes keep in memory. Written in the edit's own transaction, never changed.

    Every process tails this table and drops or reloads the entry named by (kind, tenant_id, object_id).
    """

    seq = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=64)
    tenant_id = models.UUIDField(null=True)
    object_id = models.CharField(max_length=128)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        """The last changes of a thing are found by it."""

        indexes: ClassVar = [
            models.Index(fields=["tenant_id", "object_id"], name="change_by_object"),
            # Hardly a row: those after which nothing in memory is trusted (`changes.EVERYTHING`).
            models.Index(fields=["seq"], name="change_of_everything", condition=models.Q(kind="everything")),
        ]


class Job(TenantOwned):
    """One piece of background work; this row is the truth, a queue only says that it is there.

    queued → running → done | failed; a running job whose lease ran out is queued again (`attempts` grows), and fails
    for good after `max_attempts`; a queued one may be cancelled. `run_after` delays a retry, or a job meant for later.
    A job written in the transaction of the act that asks for it is that act's outbox entry. `progress_done` of
    `progress_total` (None: unknown) is how far the attempt at hand has come, in pieces of the kind's own.
    """

    class State(models.TextChoices):
        """Where the job stands."""

        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    kind = models.CharField(max_length=64)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    run_after = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_owner = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    trace_id = models.CharField(max_length=32, blank=True)
    progress_done = models.PositiveIntegerField(null=True, blank=True)
    progress_total = models.PositiveIntegerField(null=True, blank=True)
    progress_message = models.CharField(max_length=200, blank=True, db_default="")

    class Meta(TenantOwned.Meta):
        """Claimed by state and time across tenants; listed by tenant."""

        indexes: ClassVar = [
            models.Index(fields=["state", "run_after"], name="job_by_state"),
            models.Index(fields=["tenant", "created_at"], name="job_by_tenant"),
            models.Index(fields=["tenant", "state", "id"], name="job_by_tenant_state"),
        ]


class IdempotencyRecord(TenantOwned):
    """The answer once given to a POST with an `Idempotency-Key`.

    `status` 0 while the first request is still at work; then the stored answer, replayed for 24 h.
    """

    key = models.CharField(max_length=255)
    route = models.CharField(max_length=255)
    body_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)

    class Meta(TenantOwned.Meta):
        """One record per tenant, key and route."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "key", "route"], name="idempotency_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "created_at"], name="idempotency_by_age")]


class Act(Identified):
    """Something that was done: by whom, from where, to what, with what before and after. Written in the act's own
    transaction, never changed.

    `seq` is its place in its chain and `hash` its link (`substrate.audit_chain`); without a `seq` it is loose: an older
    version wrote it, and upkeep will link it. `before` and `after` are JSON texts, so that the link covers every byte.
    """

    # Given by what links the row, since the link covers it.
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    act = models.CharField(max_length=32)
    kind = models.CharField(max_length=64)
    object_id = models.CharField(max_length=128)
    label = models.CharField(max_length=255, blank=True)
    actor_kind = models.CharField(max_length=16)
    actor = models.CharField(max_length=255)
    actor_id = models.UUIDField(null=True, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    address = models.CharField(max_length=64, blank=True, default="", db_default="")
    before = models.TextField(blank=True, default="", db_default="")
    after = models.TextField(blank=True, default="", db_default="")
    seq = models.BigIntegerField(null=True, blank=True)
    hash = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        """Abstract base."""

        abstract = True


class Chain(Identified):
    """Where a chain of acts stands: `seq` and `head` are the last row's place and link.

    Rows up to `forgotten_seq` have served their time and may be deleted; `forgotten_hash` is the link that the first
    kept row stands on. Triggers hold that nothing else of a chain is deleted, and that neither number goes back.
    """

    seq = models.BigIntegerField(default=0)
    head = models.CharField(max_length=64, default=GENESIS)
    forgotten_seq = models.BigIntegerField(default=0)
    forgotten_hash = models.CharField(max_length=64, default=GENESIS)

    class Meta:
        """Abstract base."""

        abstract = True


class PlatformChain(Chain):
    """A chain of the platform's own acts. The newest that is not closed is the one written to.

    open → closed: a restored backup closes what there is and begins a new one, so that no chain ever forks.
    """

    closed_at = models.DateTimeField(null=True, blank=True)


class PlatformAct(Act):
    """An act on what all tenants share: models, pools, the platform itself."""

    chain = models.ForeignKey(
        PlatformChain, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    chain_id: uuid.UUID | None

    class Meta:
        """Walked by chain."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["chain", "seq"], name="platform_act_once"),
        ]


class TenantChain(Chain, TenantOwned):
    """The chain of one tenant's acts."""

    class Meta(TenantOwned.Meta):
        """One row per tenant."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant"], name="audit_chain_once")]


class TenantAct(Act, TenantOwned):
    """An act in one tenant."""

    class Meta(TenantOwned.Meta):
        """Listed by tenant, the newest first (ids are in order of time); walked by its place in the chain."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "seq"], name="tenant_act_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "id"], name="act_by_tenant")]


class ServerProcess(Identified):
    """A process of the installation that said it is there. Heard of within 90 s: it runs; not for an hour: forgotten."""

    name = models.CharField(max_length=200, unique=True)
    role = models.CharField(max_length=16)
    host = models.CharField(max_length=128, blank=True)
    pid = models.PositiveIntegerField(default=0)
    version = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        """Role, host and process id."""
        return self.name
