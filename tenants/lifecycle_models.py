"""Rows of a tenant's end: archives of what it holds, and the record of its deletion."""

from typing import ClassVar

from django.db import models

from substrate.models import Identified, TenantOwned
from tenants.lifecycle_types import REASON_LENGTH, DeletionState, ExportState


class TenantDeletion(Identified):
    """That a tenant is, or was, to be deleted. It belongs to the platform and outlives the tenant, as the proof.

    waiting → withdrawn, or erasing → done | incomplete. Who erases holds `lease_until`; when that is over another
    process goes on. `canaries` are ids of what the tenant held, looked for once everything is deleted; `report` is what
    was found.
    """

    tenant_id = models.UUIDField(db_index=True)
    slug = models.CharField(max_length=63)
    name = models.CharField(max_length=200)
    state = models.CharField(
        max_length=16,
        choices=[(each.value, each.value) for each in DeletionState],
        default=DeletionState.WAITING.value,
    )
    # Where the tenant goes back to when the deletion is withdrawn.
    was = models.CharField(max_length=16)
    asked_by = models.CharField(max_length=255)
    # A member with the right to it, who may withdraw it too; what operators ask for is theirs alone.
    by_member = models.BooleanField(default=False, db_default=False)
    reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    due_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    step = models.CharField(max_length=64, blank=True)
    deleted = models.BigIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    canaries = models.JSONField(default=list)
    report = models.JSONField(default=dict)

    class Meta:
        """Found by state and when it is due; a tenant has one open deletion."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant_id"],
                condition=models.Q(state__in=[DeletionState.WAITING.value, DeletionState.ERASING.value]),
                name="tenant_deleted_once",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["state", "due_at"], name="deletion_by_state")]

    def __str__(self) -> str:
        """Which tenant, and how it stands."""
        return f"{self.slug} ({self.state})"


class TenantExport(TenantOwned):
    """An archive of all that a tenant holds: queued → running → ready → gone, or failed.

    `blob_key` is where its file lies until `expires_at`. `reason` is what an operator gave for asking.
    """

    state = models.CharField(
        max_length=16,
        choices=[(each.value, each.value) for each in ExportState],
        default=ExportState.QUEUED.value,
    )
    asked_by = models.CharField(max_length=255)
    reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    blob_key = models.CharField(max_length=200, blank=True)
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    files = models.PositiveIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    rows_total = models.BigIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """Listed by tenant, the newest first."""

        indexes: ClassVar = [models.Index(fields=["tenant", "-id"], name="export_by_tenant")]

    def __str__(self) -> str:
        """How it stands."""
        return f"archive ({self.state})"
