"""Restoring a backup: checked whole first, files beside the old ones, all rows in one transaction, then the rest.

Until the transaction is committed the old state serves readers, and is what remains when anything fails; what fails
afterwards is told as a loss. Blobs and points have names that are never used twice, so writing the backup's does no harm
to what is there. Another keyring lies ready beside the old one before the exchange, and is renamed right after it.
"""

import base64
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import structlog
from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from config.keeping import keyrings
from config.keeping.aftermath import Aftermath
from config.keeping.archive import Reader
from config.keeping.contents import ADDED_TO, emptied_models, kept_models
from config.keeping.failures import KeepingFailed, NotABackup
from config.keeping.plan import Plan, make_plan
from config.keeping.progress import Progress
from config.keeping.rows import Loader, parse_line
from config.keeping.scratch import Scratch
from config.keeping.workplace import Loop, close_archive, disk_told, one_at_a_time, workplace
from kernel.backends import backends
from kernel.errors import AtriumError
from knowledge.ports import VectorArchive
from knowledge.services.keeping import (
    forget_embedders,
    index_anew,
    kept_documents,
    resume_work,
    sweep_documents,
)
from knowledge.types import Collection, KeptDocument, StoredPoint
from substrate.audit import record_act
from substrate.audit_keeping import let_go_all_chains, settle_restored_acts
from substrate.changes import EVERYTHING, record_change
from substrate.crossing import system_scope
from substrate.ports import BlobStore
from tenants.services.webhook_mending import settle_restored_webhooks

log = structlog.get_logger(__name__)
REASON = "restore a backup"
LOCK_WAIT_S = 30
POINTS_AT_ONCE = 200
FILE_PIECE = 1024 * 1024
MARK = "restored.json"


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, in figures. `swept` files and documents of the old state are removed by background jobs."""

    rows: int
    files: int
    file_bytes: int
    points: int
    indexed_anew: int
    resumed: int
    swept: int
    missing_files: int
    seconds: float
    verify_seconds: float
    locked_seconds: float
    keyring: str
    losses: tuple[str, ...]
    remarks: tuple[str, ...]


_NOT_LIVE = {"live_version": 0, "chunk_count": 0}
Told = Callable[[Plan], object]


def restore_backup(
    path: Path, progress: Progress, *, ring: Mapping[int, bytes] | None = None, tell: Told, name: str = ""
) -> Restored:
    """Bring the backup at `path` back, over whatever is here. `tell` hears the plan before anything is touched.

    `ring` is the backup's keyring; it is put in place where this installation keeps its own in a file.

    Raises NotABackup, WrongVersion, KeepingBusy, KeepingFailed, Unavailable: then the old state is as it was. What fails
    once the backup's state is there is among the `losses` of what is returned.
    """
    reader = Reader(path)
    try:
        with one_at_a_time(), workplace() as folder, Loop() as loop, Scratch(folder) as scratch:
            began = time.monotonic()
            plan = make_plan(reader.head, ring=ring)
            tell(plan)
            progress.begin("verify", sum(member.size for member in reader.manifest.members))
            reader.verify(progress.seen)
            other = ring if plan.keyring == "given" and keyrings.is_ours_to_write() else None
            work = _Restore(reader, plan, scratch, loop, progress, name or path.name, other)
            outcome = work.run(began)
            _leave_mark(outcome, name or path.name)
            return outcome
    except DatabaseError as error:
        raise _told(error) from error
    finally:
        reader.close()
        close_archive()


class _Restore:
    """One restore, step by step."""

    def __init__(
        self,
        reader: Reader,
        plan: Plan,
        scratch: Scratch,
        loop: Loop,
        progress: Progress,
        name: str,
        ring: Mapping[int, bytes] | None,
    ) -> None:
        """`ring` is put in place with the backup, where it is not None."""
        self._reader = reader
        self._plan = plan
        self._scratch = scratch
        self._loop = loop
        self._progress = progress
        self._name = name
        self._archive: VectorArchive = backends["vector_archive"]
        self._swept = 0
        self._rows = 0
        self._anew = 0
        self._resumed = 0
        self._points = 0
        self._ring = ring
        self._prepared: Path | None = None
        self._committed = False
        self._aftermath = Aftermath()

    def run(self, began: float) -> Restored:
        """All of it."""
        verified = time.monotonic()
        self._look_around()
        try:
            files, size = self._write_files()
            if not self._archive.in_database():
                self._points = self._write_points(before=True)
            if self._ring is not None:
                self._prepared = keyrings.prepare(self._ring)
            with disk_told():
                locked = time.monotonic()
                self._exchange()
        except BaseException as error:
            if not self._committed:
                self._undo()
                raise
            log.warning("restore_interrupted_after_commit", error=repr(error))
            self._aftermath.stop()
        unlocked = time.monotonic()
        self._follow_up()
        return Restored(
            rows=self._rows,
            files=files,
            file_bytes=size,
            points=self._points,
            indexed_anew=self._anew,
            resumed=self._resumed,
            swept=self._swept,
            missing_files=self._scratch.count_missing_files(),
            seconds=round(time.monotonic() - began, 3),
            verify_seconds=round(verified - began, 3),
            locked_seconds=round(unlocked - locked, 3),
            keyring=self._plan.keyring,
            losses=(*self._plan.losses, *self._aftermath.losses),
            remarks=self._plan.remarks,
        )

    def _follow_up(self) -> None:
        """What the commit leaves to be done. The keyring comes first: without it no API key of the backup works."""
        after = self._aftermath
        if (prepared := self._prepared) is not None:
            after.step(
                lambda: keyrings.put_in_place(prepared),
                "The backup's keyring could not be put in place: rename `keyring.restored` in this installation's folder to `keyring`, and restart.",
                needed=True,
            )
            after.step(
                self._tell_again,
                "Running servers could not be told of the backup's keyring: restart them.",
                needed=True,
            )
        if not self._archive.in_database():
            after.step(
                self._replace_points,
                "Search may find nothing in some documents: their vectors could not be replaced. Restore the backup again.",
            )
        after.step(
            self._forget_tenants,
            "Files and vectors of tenants that the backup does not have could not all be removed.",
        )

    def _tell_again(self) -> None:
        """For whoever heard of the restore before the keyring was there."""
        with transaction.atomic():
            record_change(kind=EVERYTHING, object_id=self._name[:128])

    def _note_commit(self) -> None:
        self._committed = True

    def _look_around(self) -> None:
        """Remember the documents of both sides: what there is, and what the backup brings."""
        tenants = apps.get_model("tenants.Tenant")
        with system_scope(REASON, read_only=True):
            self._scratch.add_documents("old", kept_documents())
            self._scratch.add_tenants("old", tenants.objects.values_list("id", flat=True).iterator())
        self._scratch.add_tenants("new", (_id(row) for row in self._parsed("tenants.tenant")))
        self._scratch.add_documents("new", (_document(row) for row in self._parsed("knowledge.document")))
        removed = self._parsed("knowledge.removeddocument")
        self._scratch.add_documents("new", (_document({**row, **_NOT_LIVE}) for row in removed))
        self._scratch.give_embedders(
            (_id(row), row.get("embedder", ""), row.get("dimensions", 0))
            for row in self._parsed("knowledge.knowledgebase")
        )

    def _parsed(self, label: str) -> Iterator[dict[str, Any]]:
        name = f"rows/{label}.jsonl"
        if self._reader.member(name) is None:
            return
        for line in self._reader.lines(name):
            yield parse_line(line, label)

    def _write_files(self) -> tuple[int, int]:
        """Files go to their own keys, which nothing but their own document ever had."""
        self._progress.begin("files", self._plan.head.files)
        count = size = 0
        for member in self._reader.names("files"):
            for key, length, content in self._reader.files(member):
                self._scratch.written(key)
                self._loop.run(lambda key=key, content=content: _put(key, content))  # type: ignore[misc]  # bound now
                count, size = count + 1, size + length
                self._progress.seen(1)
        return count, size

    def _pages(self) -> Iterator[tuple[Collection, list[StoredPoint]]]:
        """Points of the backup that this installation can compare with its own."""
        for member in self._reader.names("vectors"):
            with closing(self._reader.lines(member)) as lines:
                collection = _collection(parse_line(next(lines, b""), member))
                usable = collection.embedder not in self._plan.unknown_embedders
                while page := [_point(parse_line(line, member)) for line in islice(lines, POINTS_AT_ONCE)]:
                    if any(len(point.vector) != 4 * collection.dimensions for point in page):
                        raise NotABackup(f"The backup is damaged: a vector of {member} has the wrong length.")
                    if usable:
                        yield collection, page

    def _write_points(self, *, before: bool) -> int:
        """Write points; `before` the exchange those alone that no point of the old state stands in the way of."""
        self._progress.begin("vectors", self._plan.head.points)
        count = 0
        for collection, page in self._pages():
            waiting = self._scratch.needs_replacing({point.document_id for point in page})
            mine = [point for point in page if (point.document_id in waiting) != before]
            if mine:
                self._archive.write(collection, mine)
                self._scratch.count_points(Counter(point.document_id for point in mine))
            count += len(mine)
            self._progress.seen(len(page))
        return count

    def _exchange(self) -> None:
        """Take the old rows away and put the backup's in their place, in one transaction."""
        with transaction.atomic():
            transaction.on_commit(self._note_commit)
            with connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("SET LOCAL statement_timeout = 0")
                    cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'")
            with system_scope(REASON):
                _lock_tables()
                self._delete_rows()
                self._insert_rows()
                settle_restored_acts()
                if self._archive.in_database():
                    self._points = self._insert_points()
                self._queue_work()
                record_act(act="restored", kind="backup", object_id=self._name[:128], label=self._name)
                record_change(kind=EVERYTHING, object_id=self._name[:128])
            self._progress.begin("commit")

    def _delete_rows(self) -> None:
        models = emptied_models()
        let_go_all_chains()
        self._progress.begin("clear", len(models))
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # Rows go before what they refer to, so every constraint can be checked at once and not kept in mind.
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for model in models:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}")  # noqa: S608 - a model's own table
                self._progress.seen(1)

    def _insert_rows(self) -> None:
        self._progress.begin("rows", sum(self._plan.head.counts.values()))
        for model in kept_models():
            name = f"rows/{model._meta.label_lower}.jsonl"
            if self._reader.member(name) is None:
                # The backup is of a schema that had no such table.
                continue
            loader = Loader(model, add=model._meta.label in ADDED_TO)
            self._rows += loader.load(self._reader.lines(name), self._progress.seen)

    def _insert_points(self) -> int:
        self._progress.begin("vectors", self._plan.head.points)
        count = 0
        for collection, page in self._pages():
            self._archive.write(collection, page)
            self._scratch.count_points(Counter(point.document_id for point in page))
            count += len(page)
            self._progress.seen(len(page))
        return count

    def _queue_work(self) -> None:
        """Queue what restored documents wait for, and the removal of what only the old state had."""
        self._resumed = resume_work()
        settle_restored_webhooks(datetime.now(UTC))
        if self._plan.unknown_embedders:
            forget_embedders(self._plan.unknown_embedders)
            self._index_anew(self._scratch.unknown(self._plan.unknown_embedders))
        elif self._archive.in_database():
            self._index_anew(self._scratch.incomplete())
        for collection, documents, keys in self._scratch.left_over():
            sweep_documents(collection, documents, keys)
            self._swept += len(keys)

    def _index_anew(self, documents: Iterator[uuid.UUID]) -> None:
        while part := list(islice(documents, POINTS_AT_ONCE)):
            self._anew += index_anew(part)

    def _replace_points(self) -> None:
        """Points of documents that both states have in different versions; what fails is indexed anew instead."""
        try:
            replaced = False
            for collection, documents in self._scratch.replaced():
                self._archive.forget(collection, documents)
                replaced = True
            if replaced:
                self._points += self._write_points(before=False)
        except AtriumError as error:
            log.warning("points_not_replaced", error=str(error))
        with system_scope(REASON):
            if not self._plan.unknown_embedders:
                self._index_anew(self._scratch.incomplete())

    def _forget_tenants(self) -> None:
        """Tenants that only the old state had leave their files and points; what cannot be removed is logged."""
        for tenant_id in self._scratch.lost_tenants():
            try:
                self._archive.forget_tenant(tenant_id)
                self._swept += self._loop.run(lambda tenant_id=tenant_id: _delete_tenant(tenant_id))  # type: ignore[misc]  # bound now
            except AtriumError as error:
                log.warning("tenant_left_behind", tenant_id=str(tenant_id), error=str(error))

    def _undo(self) -> None:
        """After a failure: take away what was written beside the old state. What cannot be is never referred to."""
        self._progress.begin("undo")
        if self._prepared is not None:
            with suppress(OSError):
                self._prepared.unlink(missing_ok=True)
        with suppress(AtriumError):
            for key in self._scratch.strays():
                self._loop.run(lambda key=key: _delete(key))  # type: ignore[misc]  # bound now
        if not self._archive.in_database():
            with suppress(AtriumError):
                for collection, documents in self._scratch.added():
                    self._archive.forget(collection, documents)


def _lock_tables() -> None:
    """Writers wait until the exchange is over; readers go on with the old rows. SQLite's transaction does that itself."""
    if connection.vendor != "postgresql":
        return
    tables = {model._meta.db_table for model in [*kept_models(), *emptied_models()]}
    names = ", ".join(connection.ops.quote_name(table) for table in sorted(tables))
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {names} IN EXCLUSIVE MODE")


def _told(error: DatabaseError) -> KeepingFailed:
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    return KeepingFailed(f"The database refused the restore, and is as it was: {reason}")


def _id(row: Mapping[str, Any]) -> uuid.UUID:
    try:
        return uuid.UUID(row["id"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise NotABackup("The backup is damaged: a row has no id.") from error


def _document(row: Mapping[str, Any]) -> KeptDocument:
    try:
        return KeptDocument(
            tenant_id=uuid.UUID(row["tenant_id"]),
            id=uuid.UUID(row["id"]),
            knowledge_base_id=uuid.UUID(row["knowledge_base_id"]),
            blob_key=row["blob_key"],
            live_version=row["live_version"],
            chunk_count=row["chunk_count"],
            embedder="",
            dimensions=0,
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise NotABackup("The backup is damaged: a document's row is not valid.") from error


def _collection(row: Mapping[str, Any]) -> Collection:
    try:
        return Collection(uuid.UUID(row["tenant"]), str(row["embedder"]), int(row["dimensions"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise NotABackup("The backup is damaged: vectors without their collection.") from error


def _point(row: Mapping[str, Any]) -> StoredPoint:
    try:
        return StoredPoint(
            chunk_id=uuid.UUID(row["chunk"]),
            document_id=uuid.UUID(row["document"]),
            knowledge_base_id=uuid.UUID(row["base"]),
            version=row["version"],
            vector=base64.b64decode(row["vector"], validate=True),
            terms=row["terms"],
            length=row["length"],
            numbers=tuple((number, count) for number, count in row["numbers"]),
            hashes=tuple(row["hashes"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise NotABackup("The backup is damaged: a point is not valid.") from error


async def _put(key: str, content: IO[bytes]) -> None:
    blobs: BlobStore = backends["blob_store"]

    async def pieces() -> AsyncIterator[bytes]:
        while piece := content.read(FILE_PIECE):
            yield piece

    await blobs.put(key, pieces())


async def _delete(key: str) -> None:
    blobs: BlobStore = backends["blob_store"]
    await blobs.delete(key)


async def _delete_tenant(tenant_id: uuid.UUID) -> int:
    blobs: BlobStore = backends["blob_store"]
    return await blobs.delete_tenant(tenant_id)


def _leave_mark(outcome: Restored, name: str) -> None:
    """Say in the home what was restored last. A first run sees it, and makes no demo tenant."""
    path: Path = settings.ATRIUM.home / MARK
    told = {"backup": name, "at": datetime.now(UTC).isoformat(), **asdict(outcome)}
    with suppress(OSError):
        path.write_text(json.dumps(told, indent=1) + "\n")
