"""Sets that may be larger than memory: documents, files and points, in a throw-away database of their own."""

import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from knowledge.types import Collection, KeptDocument

_TABLES = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32000;
CREATE TABLE documents (side TEXT, id BLOB, tenant BLOB, base BLOB, blob_key TEXT, version INT, chunks INT,
  embedder TEXT, dimensions INT, points INT DEFAULT 0, PRIMARY KEY (side, id)) WITHOUT ROWID;
CREATE TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE tenants (side TEXT, id BLOB, PRIMARY KEY (side, id)) WITHOUT ROWID;
"""
_PART = 500


class Scratch:
    """Documents of two sides: `new` is the backup's, `old` the installation's before a restore."""

    def __init__(self, folder: Path) -> None:
        """Makes its database in `folder`."""
        self._database = sqlite3.connect(folder / "scratch.sqlite3", isolation_level=None)
        self._database.executescript(_TABLES)
        self._database.execute("CREATE INDEX by_key ON documents (blob_key)")

    def __enter__(self) -> "Scratch":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database."""
        self._database.close()

    def add_documents(self, side: str, documents: Iterable[KeptDocument]) -> None:
        """Remember documents of a side."""
        self._database.executemany(
            "INSERT OR REPLACE INTO documents (side, id, tenant, base, blob_key, version, chunks, embedder, dimensions)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (side, d.id.bytes, d.tenant_id.bytes, d.knowledge_base_id.bytes, d.blob_key, d.live_version,
                 d.chunk_count, d.embedder, d.dimensions)
                for d in documents
            ),
        )  # fmt: skip

    def add_tenants(self, side: str, ids: Iterable[uuid.UUID]) -> None:
        """Remember tenants of a side."""
        self._database.executemany(
            "INSERT OR IGNORE INTO tenants VALUES (?, ?)", ((side, i.bytes) for i in ids)
        )

    def give_embedders(self, bases: Iterable[tuple[uuid.UUID, str, int]]) -> None:
        """Say where the points of the new side's bases lie."""
        self._database.executemany(
            "UPDATE documents SET embedder = ?, dimensions = ? WHERE side = 'new' AND base = ?",
            ((embedder, dimensions, base.bytes) for base, embedder, dimensions in bases),
        )

    def live_versions(self, side: str, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
        """The visible version of each document that the side has."""
        wanted = [each.bytes for each in ids]
        marks = ",".join("?" * len(wanted))
        rows = self._database.execute(
            f"SELECT id, version FROM documents WHERE side = ? AND id IN ({marks})",  # noqa: S608 - marks alone
            [side, *wanted],
        )
        return {uuid.UUID(bytes=found): version for found, version in rows}

    def count_points(self, counts: dict[uuid.UUID, int]) -> None:
        """Add to the points that the new side's documents have."""
        self._database.executemany(
            "UPDATE documents SET points = points + ? WHERE side = 'new' AND id = ?",
            ((count, document.bytes) for document, count in counts.items()),
        )

    def incomplete(self) -> Iterator[uuid.UUID]:
        """Visible documents of the new side that have another number of points than of chunks."""
        yield from self._ids(
            "SELECT id FROM documents WHERE side = 'new' AND version > 0 AND points <> chunks"
        )

    def unknown(self, embedders: Iterable[str]) -> Iterator[uuid.UUID]:
        """Visible documents of the new side that were embedded by one of `embedders`."""
        for embedder in embedders:
            yield from self._ids(
                "SELECT id FROM documents WHERE side = 'new' AND version > 0 AND embedder = ?", embedder
            )

    def needs_replacing(self, ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
        """Those that the old side has too, with points of another version or place: theirs must go first."""
        wanted = [each.bytes for each in ids]
        marks = ",".join("?" * len(wanted))
        rows = self._database.execute(
            "SELECT n.id FROM documents n JOIN documents o ON o.side = 'old' AND o.id = n.id "  # noqa: S608 - marks alone
            "WHERE n.side = 'new' AND (o.version <> n.version OR o.embedder <> n.embedder) "
            f"AND n.id IN ({marks})",
            wanted,
        )
        return {uuid.UUID(bytes=found) for (found,) in rows}

    def replaced(self) -> Iterator[tuple[Collection, list[uuid.UUID]]]:
        """Documents of both sides whose old points must go, by the old side's collection."""
        yield from self._by_collection(
            "SELECT o.tenant, o.embedder, o.dimensions, o.id FROM documents o JOIN documents n "
            "ON n.side = 'new' AND n.id = o.id WHERE o.side = 'old' AND o.embedder <> '' "
            "AND (o.version <> n.version OR o.embedder <> n.embedder) "
            "ORDER BY o.tenant, o.embedder, o.dimensions"
        )

    def added(self) -> Iterator[tuple[Collection, list[uuid.UUID]]]:
        """Documents of the new side alone, by collection."""
        yield from self._by_collection(
            "SELECT n.tenant, n.embedder, n.dimensions, n.id FROM documents n WHERE n.side = 'new' "
            "AND n.embedder <> '' AND NOT EXISTS (SELECT 1 FROM documents o WHERE o.side = 'old' AND o.id = n.id) "
            "ORDER BY n.tenant, n.embedder, n.dimensions"
        )

    def left_over(self) -> Iterator[tuple[Collection, list[uuid.UUID], list[str]]]:
        """Of tenants that both sides have: documents and files of the old side that the new one has not."""
        rows = self._database.execute(
            "SELECT o.tenant, o.embedder, o.dimensions, CASE WHEN n.id IS NULL THEN o.id END, o.blob_key "
            "FROM documents o JOIN tenants t ON t.side = 'new' AND t.id = o.tenant "
            "LEFT JOIN documents n ON n.side = 'new' AND n.id = o.id "
            "WHERE o.side = 'old' AND (n.id IS NULL OR n.blob_key <> o.blob_key) "
            "ORDER BY o.tenant, o.embedder, o.dimensions"
        )
        place: Collection | None = None
        ids: list[uuid.UUID] = []
        keys: list[str] = []
        for tenant, embedder, dimensions, document, key in rows:
            here = Collection(uuid.UUID(bytes=tenant), embedder, dimensions)
            if place is not None and (here != place or len(keys) >= _PART):
                yield place, ids, keys
                ids, keys = [], []
            place = here
            keys.append(key)
            if document is not None:
                ids.append(uuid.UUID(bytes=document))
        if place is not None:
            yield place, ids, keys

    def lost_tenants(self) -> list[uuid.UUID]:
        """Tenants of the old side that the new one has not."""
        return list(
            self._ids(
                "SELECT id FROM tenants WHERE side = 'old' EXCEPT SELECT id FROM tenants WHERE side = 'new'"
            )
        )

    def written(self, key: str) -> None:
        """Remember that the file `key` was written by a restore."""
        self._database.execute("INSERT OR IGNORE INTO keys VALUES (?)", (key,))

    def strays(self) -> Iterator[str]:
        """Files that were written and that no document of the old side refers to."""
        yield from (
            key
            for (key,) in self._database.execute(
                "SELECT key FROM keys WHERE NOT EXISTS "
                "(SELECT 1 FROM documents o WHERE o.side = 'old' AND o.blob_key = keys.key)"
            )
        )

    def count_missing_files(self) -> int:
        """Documents of the new side whose file was not in the backup."""
        found = self._database.execute(
            "SELECT count(*) FROM documents n WHERE n.side = 'new' "
            "AND NOT EXISTS (SELECT 1 FROM keys WHERE keys.key = n.blob_key)"
        )
        return int(found.fetchone()[0])

    def files(self) -> Iterator[str]:
        """Files of the new side's documents, in order of tenant."""
        yield from (
            key
            for (key,) in self._database.execute(
                "SELECT blob_key FROM documents WHERE side = 'new' ORDER BY tenant, id"
            )
        )

    def _ids(self, sql: str, *values: object) -> Iterator[uuid.UUID]:
        yield from (uuid.UUID(bytes=found) for (found,) in self._database.execute(sql, values))

    def _by_collection(self, sql: str) -> Iterator[tuple[Collection, list[uuid.UUID]]]:
        place: Collection | None = None
        ids: list[uuid.UUID] = []
        for tenant, embedder, dimensions, document in self._database.execute(sql):
            here = Collection(uuid.UUID(bytes=tenant), embedder, dimensions)
            if place is not None and (here != place or len(ids) >= _PART):
                yield place, ids
                ids = []
            place = here
            ids.append(uuid.UUID(bytes=document))
        if place is not None:
            yield place, ids
