"""Archives of all that a tenant holds: asked for, made by a job, downloaded for a while, removed.

An archive is a zip file: `tables/<model>.jsonl` (a row a line), `files/…` (what was handed in) and `manifest.json` with
the rows, bytes and SHA-256 of each. Secrets are never in it: no key, no password, no token, not even their hashes.
"""

import asyncio
import hashlib
import json
import tempfile
import uuid
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any

from kernel.actors import current_actor
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, NotFound, PermissionDenied
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.job_progress import JobProgress
from substrate.jobs import ClaimedJob, enqueue_job
from substrate.ports import BlobStore, ExportedPiece, TenantParticipant
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.lifecycle_types import ARCHIVE_KEPT, REASON_LENGTH, ExportState, ExportView
from tenants.models import Tenant, TenantExport
from tenants.permissions import OPERATE, require
from tenants.selectors import open_break_glasses
from tenants.types import Principal

FORMAT = 1
TAKE_OUT = "tenant.export"
KIND, FORGET = "tenants.export", "tenants.forget_export"
SHOWN = 50
PIECE = 1024 * 1024
TOLD_EVERY_S = 1.0
_AT_WORK = (ExportState.QUEUED.value, ExportState.RUNNING.value)


def participants() -> dict[str, TenantParticipant]:
    """Every app's participant by its name, those that refer to others first."""
    names = [name for name in backends.specs if name.startswith("participant.")]
    return {name.partition(".")[2]: backends[name] for name in names}


def ask_export(*, principal: Principal, tenant_id: uuid.UUID | None = None, reason: str = "") -> ExportView:
    """Queue an archive of the principal's tenant; an operator's, of any tenant, with a reason and under break-glass.

    Raises PermissionDenied, NotFound, BadInput, Conflict while one is being made.
    """
    target = _reachable(principal, tenant_id)
    if not _is_their_own(principal, target) and not reason.strip():
        raise BadInput("Say why you take out this tenant's content.", param="reason")
    if len(reason) > REASON_LENGTH:
        raise BadInput(f"A reason has at most {REASON_LENGTH} characters.", param="reason")
    with tenant_scope(target):
        _require_break_glass(principal, target, SYSTEM_CLOCK.now())
        if TenantExport.objects.filter(state__in=_AT_WORK).exists():
            raise Conflict("An archive is being made already.", code="export_at_work")
        row = TenantExport.objects.create(
            tenant_id=target, asked_by=current_actor().label, reason=reason.strip()
        )
        enqueue_job(tenant_id=target, kind=KIND, payload={"export_id": str(row.id)})
        _record(row, "exported", reason.strip())
        return _view(row)


def list_exports(*, principal: Principal, tenant_id: uuid.UUID | None = None) -> list[ExportView]:
    """The archives of a tenant, the newest first. Raises PermissionDenied, NotFound."""
    with tenant_scope(_reachable(principal, tenant_id), read_only=True):
        return [_view(row) for row in TenantExport.objects.order_by("-id")[:SHOWN]]


def get_export(
    *, principal: Principal, export_id: uuid.UUID, tenant_id: uuid.UUID | None = None
) -> ExportView:
    """One archive. Raises PermissionDenied, NotFound."""
    with tenant_scope(_reachable(principal, tenant_id), read_only=True):
        return _view(_row(export_id))


def delete_export(*, principal: Principal, export_id: uuid.UUID, tenant_id: uuid.UUID | None = None) -> None:
    """Remove an archive before its time. Raises PermissionDenied, NotFound, Conflict while it is being made."""
    with tenant_scope(_reachable(principal, tenant_id)):
        row = _row(export_id)
        if row.state in _AT_WORK:
            raise Conflict("This archive is being made.", code="export_at_work")
        enqueue_job(tenant_id=row.tenant_id, kind=FORGET, payload={"export_id": str(row.id)})
        row.expires_at = SYSTEM_CLOCK.now()
        row.save(update_fields=["expires_at", "updated_at"])
        _record(row, "deleted")


def open_archive(
    *,
    principal: Principal,
    export_id: uuid.UUID,
    tenant_id: uuid.UUID | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[ExportView, str, str]:
    """An archive, the key of its file and a name to save it by, written down as downloaded; for an operator under
    break-glass.

    Raises PermissionDenied, NotFound, Conflict when it is not there yet or not any more.
    """
    with tenant_scope(_reachable(principal, tenant_id)):
        row = _row(export_id)
        _require_break_glass(principal, row.tenant_id, clock.now())
        if row.state != ExportState.READY or row.expires_at is None or row.expires_at <= clock.now():
            raise Conflict("This archive cannot be downloaded.", code="export_not_ready")
        _record(row, "downloaded", row.reason)
        name = f"atrium-{_tenant_of(row.tenant_id)['slug']}-{row.created_at:%Y-%m-%d}.zip"
        return _view(row), row.blob_key, name


def stream_archive(key: str) -> AsyncIterator[bytes]:
    """The file of an archive, piece by piece. Raises NotFound, Unavailable."""
    store: BlobStore = backends["blob_store"]
    return store.stream(key)


async def make_archive(job: ClaimedJob, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """The job: write the archive into the blob store. Made anew from the start when it was interrupted."""
    export_id, tenant_id = uuid.UUID(job.payload["export_id"]), job.tenant_id
    if not await run_unit(_begin, tenant_id, export_id):
        return
    apart = participants()
    total = sum([sum((await each.count(tenant_id)).values()) for each in apart.values()])
    progress = JobProgress(job)
    tenant = await run_unit(_tenant_of, tenant_id)
    with tempfile.TemporaryFile() as file:
        archive = Archive(file)
        told_at = clock.monotonic()
        for each in apart.values():
            async for piece in each.export(tenant_id):
                await asyncio.to_thread(archive.add, piece)
                await progress.tell(archive.rows, total, piece.path)
                if clock.monotonic() - told_at >= TOLD_EVERY_S:
                    told_at = clock.monotonic()
                    await run_unit(_tell, tenant_id, export_id, archive.rows, total)
        manifest = {"format": FORMAT, "made_at": clock.now().isoformat(), "tenant": tenant}
        await asyncio.to_thread(archive.end, manifest)
        key = f"{tenant_id}/exports/{export_id}.zip"
        digest = hashlib.sha256()
        store: BlobStore = backends["blob_store"]
        size = await store.put(key, _read(file, digest))
    await run_unit(_end, tenant_id, export_id, key, size, digest.hexdigest(), archive, clock.now())


async def give_up_export(job: ClaimedJob, reason: str) -> None:
    """Show why there is no archive."""
    await run_unit(_fail, job.tenant_id, uuid.UUID(job.payload["export_id"]), reason)


async def forget_archive(job: ClaimedJob) -> None:
    """The job: remove an archive's file; its time is over."""
    export_id = uuid.UUID(job.payload["export_id"])
    store: BlobStore = backends["blob_store"]
    await store.delete(f"{job.tenant_id}/exports/{export_id}.zip")
    await run_unit(_set, job.tenant_id, export_id, state=ExportState.GONE.value, blob_key="")


@dataclass
class Written:
    """What the manifest says of one file."""

    rows: int = 0
    bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class Archive:
    """A zip file in the making: pieces of one file follow each other. Synchronous, bounded memory."""

    def __init__(self, file: IO[bytes]) -> None:
        """Writes into `file`."""
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        self._open: IO[bytes] | None = None
        self._path = ""
        self.written: dict[str, Written] = {}
        self.rows = 0

    def add(self, piece: ExportedPiece) -> None:
        """Write a piece."""
        if self._open is None or piece.path != self._path:
            self._close()
            self._path, self._open = piece.path, self._zip.open(piece.path, "w", force_zip64=True)
        self._open.write(piece.content)
        told = self.written.setdefault(piece.path, Written())
        told.rows += piece.rows
        told.bytes += len(piece.content)
        told.digest.update(piece.content)
        self.rows += piece.rows

    def end(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest and finish the file."""
        self._close()
        files = {
            path: {"rows": each.rows, "bytes": each.bytes, "sha256": each.digest.hexdigest()}
            for path, each in self.written.items()
        }
        self._zip.writestr("manifest.json", json.dumps({**manifest, "files": files}, indent=1))
        self._zip.close()

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


async def _read(file: IO[bytes], digest: Any) -> AsyncIterator[bytes]:
    file.seek(0)
    while piece := await asyncio.to_thread(file.read, PIECE):
        digest.update(piece)
        yield piece


def _reachable(principal: Principal, tenant_id: uuid.UUID | None) -> uuid.UUID:
    """Whose archives the principal deals with. Raises PermissionDenied, NotFound."""
    if tenant_id is None:
        require(principal, TAKE_OUT)
        return principal.tenant_id
    require(principal, OPERATE)
    if not Tenant.objects.filter(id=tenant_id).exists():
        raise NotFound("There is no such tenant.")
    return tenant_id


def _is_their_own(principal: Principal, tenant_id: uuid.UUID) -> bool:
    """Whether the principal takes the archive by the right of its own membership, and not as an operator.

    The same tenant alone says nothing: a visit is in the tenant visited, and an operator may be a mere viewer there.
    """
    at_home = tenant_id == principal.tenant_id and not principal.visiting
    return at_home and TAKE_OUT in principal.permissions


def _require_break_glass(principal: Principal, tenant_id: uuid.UUID, now: datetime) -> None:
    """An archive is all content there is: an operator takes it as they read it.

    Needs that tenant's scope. Raises PermissionDenied.
    """
    if _is_their_own(principal, tenant_id):
        return
    if principal.user_id is None or not open_break_glasses(principal.user_id, now).exists():
        raise PermissionDenied(
            "An archive holds what the tenant's people wrote: open break-glass in that tenant first.",
            code="break_glass_needed",
        )


def _row(export_id: uuid.UUID) -> TenantExport:
    row = TenantExport.objects.filter(id=export_id).first()
    if row is None:
        raise NotFound("There is no such archive.")
    return row


def _tenant_of(tenant_id: uuid.UUID) -> dict[str, str]:
    row = Tenant.objects.get(id=tenant_id)
    return {"id": str(row.id), "slug": row.slug, "name": row.name, "timezone": row.timezone}


def _begin(tenant_id: uuid.UUID, export_id: uuid.UUID) -> bool:
    with tenant_scope(tenant_id):
        rows = TenantExport.objects.filter(id=export_id, state__in=_AT_WORK)
        return rows.update(state=ExportState.RUNNING.value, rows_done=0) == 1


def _tell(tenant_id: uuid.UUID, export_id: uuid.UUID, done: int, total: int) -> None:
    _set(tenant_id, export_id, rows_done=done, rows_total=total)


def _set(tenant_id: uuid.UUID, export_id: uuid.UUID, **values: object) -> None:
    with tenant_scope(tenant_id):
        TenantExport.objects.filter(id=export_id).update(**values)
        record_change(kind="tenant_export", object_id=export_id, tenant_id=tenant_id)


def _end(
    tenant_id: uuid.UUID,
    export_id: uuid.UUID,
    key: str,
    size: int,
    sha256: str,
    archive: Archive,
    now: datetime,
) -> None:
    with tenant_scope(tenant_id):
        _set(
            tenant_id,
            export_id,
            state=ExportState.READY.value,
            blob_key=key,
            size=size,
            sha256=sha256,
            files=len(archive.written),
            rows_done=archive.rows,
            rows_total=archive.rows,
            finished_at=now,
            expires_at=now + ARCHIVE_KEPT,
        )
        enqueue_job(
            tenant_id=tenant_id, kind=FORGET, payload={"export_id": str(export_id)}, delay=ARCHIVE_KEPT
        )


def _fail(tenant_id: uuid.UUID, export_id: uuid.UUID, reason: str) -> None:
    _set(tenant_id, export_id, state=ExportState.FAILED.value, error=reason[:500])


def _record(row: TenantExport, act: str, label: str = "") -> None:
    record_change(kind="tenant_export", object_id=row.id, tenant_id=row.tenant_id)
    record_act(act=act, kind="tenant_export", object_id=row.id, label=label, tenant_id=row.tenant_id)


def _view(row: TenantExport) -> ExportView:
    return ExportView(
        id=row.id,
        tenant_id=row.tenant_id,
        state=ExportState(row.state),
        asked_by=row.asked_by,
        reason=row.reason,
        created_at=row.created_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        rows_done=row.rows_done,
        rows_total=row.rows_total,
        files=row.files,
        size=row.size,
        sha256=row.sha256,
        error=row.error,
    )
