"""Taking a backup while the installation serves: rows of one moment, then the files and points they refer to."""

import base64
import io
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from config.keeping import keyrings
from config.keeping.archive import KEY, Writer
from config.keeping.contents import kept_models
from config.keeping.failures import KeepingFailed
from config.keeping.manifest import FORMAT, Head, Manifest
from config.keeping.progress import Progress
from config.keeping.rows import Watcher, lines_of
from config.keeping.scratch import Scratch
from config.keeping.snapshot import snapshot
from config.keeping.workplace import Loop, atrium_version, close_archive, one_at_a_time, workplace
from kernel.backends import backends
from kernel.errors import NotFound
from kernel.streams import together
from knowledge.ports import VectorArchive
from knowledge.services.keeping import collections_in_use, kept_documents
from knowledge.types import Collection, StoredPoint
from substrate.ports import BlobStore

log = structlog.get_logger(__name__)
# Files in one member, and bytes after which the next one begins.
FILES_PER_MEMBER = 1_000
BYTES_PER_MEMBER = 256 * 1024 * 1024
FILES_AT_ONCE = 4


@dataclass
class _Findings:
    """What is learned of the rows while they are written."""

    now: datetime
    counts: dict[str, int] = field(default_factory=dict)
    api_keys: Counter[str] = field(default_factory=Counter)
    sealed: list[str] = field(default_factory=list)
    other_secrets: Counter[str] = field(default_factory=Counter)

    def watcher(self, model: type[Model]) -> Watcher | None:
        """What looks at each row of the model; None for most."""
        watchers: dict[str, Watcher] = {
            "tenants.ApiKey": self._api_key,
            "inference.Replica": self._replica,
            "mfa.Authenticator": self._second_factor,
            "tenants.IdentityProvider": self._provider,
            "tenants.Webhook": self._webhook,
        }
        return watchers.get(model._meta.label)

    def _api_key(self, row: dict[str, Any]) -> None:
        expires = row["expires_at"]
        if row["revoked_at"] is None and (expires is None or expires > self.now):
            self.api_keys[str(row["pepper_version"])] += 1

    def _replica(self, row: dict[str, Any]) -> None:
        if row["api_key"]:
            self.sealed.append(f"{row['served_name']} at {row['url']}")

    def _second_factor(self, row: dict[str, Any]) -> None:
        # A person has one app at most; what else is kept encrypted are recovery codes, which come with it.
        self.other_secrets["mfa.Authenticator"] += row["type"] == "totp"

    def _provider(self, row: dict[str, Any]) -> None:
        self.other_secrets["tenants.IdentityProvider"] += bool(row["client_secret"])

    def _webhook(self, row: dict[str, Any]) -> None:
        self.other_secrets["tenants.Webhook"] += 1


def take_backup(path: Path, progress: Progress) -> Manifest:
    """Write a backup of this installation to `path`, whole or not at all; it may replace an older one.

    Raises KeepingBusy, KeepingFailed, Unavailable.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with one_at_a_time():
        try:
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise KeepingFailed(f"{path} cannot be written: {error.strerror or error}.") from error
        try:
            with workplace() as folder, os.fdopen(descriptor, "w+b") as file:
                manifest = _write(file, folder, progress)
                file.flush()
                os.fsync(file.fileno())
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
            close_archive()
    return manifest


def _write(file: Any, folder: Path, progress: Progress) -> Manifest:
    writer = Writer(file)
    try:
        return _write_all(writer, folder, progress)
    finally:
        writer.abandon()


def _write_all(writer: Writer, folder: Path, progress: Progress) -> Manifest:
    began, taken_at = time.monotonic(), datetime.now(UTC)
    archive: VectorArchive = backends["vector_archive"]
    with Loop() as loop, Scratch(folder) as scratch:
        with snapshot() as moment:
            found = _Findings(moment)
            schema = applied_migrations()
            _write_rows(writer, found, progress)
            scratch.add_documents("new", kept_documents())
            collections = collections_in_use()
            points = 0
            if archive.in_database():
                points = _write_points(writer, archive, collections, scratch, progress)
        # What is not in the database has no snapshot: what the snapshot's rows do not know is left out.
        if not archive.in_database():
            points = _write_points(writer, archive, collections, scratch, progress)
        files, size, missing = _write_files(writer, scratch, loop, progress)
        incomplete = sum(1 for _ in scratch.incomplete())
    head = Head(
        format=FORMAT,
        atrium=atrium_version(),
        profile=settings.ATRIUM.profile,
        taken_at=taken_at.isoformat(),
        consistent_at=moment.isoformat(),
        schema=schema,
        keyring=keyrings.fingerprints(),
        counts=found.counts,
        files=files,
        file_bytes=size,
        points=points,
        embedders=tuple(sorted({each.embedder for each in collections})),
        api_keys=dict(found.api_keys),
        sealed=tuple(found.sealed),
        missing_files=tuple(missing),
        incomplete=incomplete,
        other_secrets=dict(found.other_secrets),
    )
    return writer.finish(replace(head, seconds=round(time.monotonic() - began, 3)))


def applied_migrations() -> tuple[str, ...]:
    """The schema of the database, as `app.name` of each migration."""
    applied = MigrationRecorder(connection).applied_migrations()
    return tuple(sorted(f"{label}.{name}" for label, name in applied))


def _write_rows(writer: Writer, found: _Findings, progress: Progress) -> None:
    progress.begin("rows")
    for model in kept_models():
        name = f"rows/{model._meta.label_lower}.jsonl"
        member = writer.add_lines(name, lines_of(model, progress.seen, found.watcher(model)))
        found.counts[model._meta.label] = member.count


def _write_points(
    writer: Writer,
    archive: VectorArchive,
    collections: Sequence[Collection],
    scratch: Scratch,
    progress: Progress,
) -> int:
    progress.begin("vectors")
    total = 0
    for number, collection in enumerate(collections, start=1):
        lines = _point_lines(archive, collection, scratch, progress)
        total += writer.add_lines(f"vectors/{number:06}.jsonl", lines, header=True).count
    return total


def _point_lines(
    archive: VectorArchive, collection: Collection, scratch: Scratch, progress: Progress
) -> Iterator[bytes]:
    """A header that names the collection, then the points of visible versions."""
    yield orjson.dumps(
        {
            "tenant": collection.tenant_id,
            "embedder": collection.embedder,
            "dimensions": collection.dimensions,
        }
    )
    for page in archive.pages(collection):
        live = scratch.live_versions("new", {point.document_id for point in page})
        kept = [point for point in page if live.get(point.document_id) == point.version]
        scratch.count_points(Counter(point.document_id for point in kept))
        for point in kept:
            yield point_line(point)
        progress.seen(len(kept))


def point_line(point: StoredPoint) -> bytes:
    """A point as a line."""
    return orjson.dumps(
        {
            "chunk": point.chunk_id,
            "document": point.document_id,
            "base": point.knowledge_base_id,
            "version": point.version,
            "length": point.length,
            "terms": point.terms,
            "numbers": point.numbers,
            "hashes": point.hashes,
            "vector": base64.b64encode(point.vector).decode(),
        }
    )


def _write_files(
    writer: Writer, scratch: Scratch, loop: Loop, progress: Progress
) -> tuple[int, int, list[str]]:
    """(how many, their bytes, keys of those that were gone)."""
    progress.begin("files")
    missing: list[str] = []
    keys = scratch.files()
    count = size = number = 0
    ended = False
    while not ended:
        number += 1
        with writer.files(f"files/{number:06}.tar") as sink:
            while sink.count < FILES_PER_MEMBER and sink.size < BYTES_PER_MEMBER:
                batch = list(islice(keys, FILES_AT_ONCE))
                if not batch:
                    ended = True
                    break
                for key, content in zip(batch, loop.run(lambda batch=batch: _read(batch)), strict=True):  # type: ignore[misc]  # bound now
                    if content is None or not KEY.match(key):
                        missing.append(key)
                    else:
                        sink.add(key, io.BytesIO(content), len(content))
                progress.seen(len(batch))
            count, size = count + sink.count, size + sink.size
    return count, size, missing


async def _read(keys: Sequence[str]) -> list[bytes | None]:
    return await together(*(_content(key) for key in keys))


async def _content(key: str) -> bytes | None:
    """The file, or None when it was deleted meanwhile."""
    blobs: BlobStore = backends["blob_store"]
    try:
        return await blobs.read(key)
    except NotFound:
        return None
