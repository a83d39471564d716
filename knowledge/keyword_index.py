"""The database's full-text index over `ChunkVector.keywords`: FTS5 on SQLite, a generated tsvector on PostgreSQL.

The index only finds rows; scores are BM25 over the statistics of the searched knowledge bases alone, so that they
never depend on what others store. Every keyword carries a tag of its knowledge base, so that a search reads the
entries of that base alone, however many others share the table.

SQLite drops a table's triggers when a migration rebuilds the table: such a migration must run `MakeKeywordIndex`
again after it.
"""

import hashlib
import uuid
from collections.abc import Iterable
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

TABLE = "knowledge_chunkvector"
INDEX = "knowledge_keywords"

_FORGET_OLD = f"INSERT INTO {INDEX}({INDEX}, rowid, keywords) VALUES ('delete', old.id, old.keywords);"  # noqa: S608
_ADD_NEW = f"INSERT INTO {INDEX}(rowid, keywords) VALUES (new.id, new.keywords);"  # noqa: S608 - constants
_SQLITE = (
    f"DROP TABLE IF EXISTS {INDEX}",
    f"CREATE VIRTUAL TABLE {INDEX} USING fts5(keywords, content='{TABLE}', content_rowid='id', "
    "tokenize='unicode61 remove_diacritics 0', detail=none, columnsize=0)",
    f"INSERT INTO {INDEX}({INDEX}) VALUES ('rebuild')",  # noqa: S608 - constants
    f"DROP TRIGGER IF EXISTS {INDEX}_insert",
    f"CREATE TRIGGER {INDEX}_insert AFTER INSERT ON {TABLE} BEGIN {_ADD_NEW} END",
    f"DROP TRIGGER IF EXISTS {INDEX}_delete",
    f"CREATE TRIGGER {INDEX}_delete AFTER DELETE ON {TABLE} BEGIN {_FORGET_OLD} END",
    f"DROP TRIGGER IF EXISTS {INDEX}_update",
    f"CREATE TRIGGER {INDEX}_update AFTER UPDATE OF keywords ON {TABLE} BEGIN {_FORGET_OLD} {_ADD_NEW} END",
)
_SQLITE_BACK = (
    f"DROP TRIGGER IF EXISTS {INDEX}_insert",
    f"DROP TRIGGER IF EXISTS {INDEX}_delete",
    f"DROP TRIGGER IF EXISTS {INDEX}_update",
    f"DROP TABLE IF EXISTS {INDEX}",
)
_POSTGRESQL = (
    f"ALTER TABLE {TABLE} ADD COLUMN IF NOT EXISTS keyword_terms tsvector "
    "GENERATED ALWAYS AS (array_to_tsvector(string_to_array(keywords, ' '))) STORED",
    f"CREATE INDEX IF NOT EXISTS {INDEX} ON {TABLE} USING gin (keyword_terms)",
)
_POSTGRESQL_BACK = (f"ALTER TABLE {TABLE} DROP COLUMN IF EXISTS keyword_terms",)
_STATEMENTS = {"sqlite": (_SQLITE, _SQLITE_BACK), "postgresql": (_POSTGRESQL, _POSTGRESQL_BACK)}


def keyword_tag(knowledge_base_id: uuid.UUID) -> str:
    """What stands before each keyword of a knowledge base. Two bases may share one; rows are filtered besides."""
    return knowledge_base_id.hex[-10:]


def keyword(knowledge_base_id: uuid.UUID, term: str) -> str:
    """A term as it is stored and asked for: ASCII letters and digits alone, whatever its script.

    The databases' own ideas of what a letter is differ; a term beyond ASCII is stored as 64 bits of its hash.
    """
    if not (term.isascii() and term.isalnum()):
        term = "u" + hashlib.blake2s(term.encode(), digest_size=8).hexdigest()
    return keyword_tag(knowledge_base_id) + term


def tagged_keywords(knowledge_base_id: uuid.UUID, terms: Iterable[str]) -> str:
    """The distinct terms as they are stored, in a stable order."""
    return " ".join(sorted({keyword(knowledge_base_id, term) for term in terms}))


def match_expression(vendor: str, knowledge_base_ids: Iterable[uuid.UUID], terms: Iterable[str]) -> str:
    """The full-text query for any of `terms` in any of the bases. Keywords are letters and digits, and quoted."""
    distinct = list(dict.fromkeys(terms))
    keywords = [keyword(base, term) for base in knowledge_base_ids for term in distinct]
    if vendor == "sqlite":
        return " OR ".join(f'"{each}"' for each in keywords)
    return " | ".join(f"'{each}'" for each in keywords)


class MakeKeywordIndex(Operation):
    """Migration operation: builds the full-text index of the database at hand over the rows there are."""

    reversible = True
    reduces_to_sql = True

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How the migration writer would spell it."""
        return self.__class__.__qualname__, [], {}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Django's models do not know of the index."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build it; safe to run again."""
        for sql in _STATEMENTS[schema_editor.connection.vendor][0]:
            schema_editor.execute(sql, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Take it away."""
        for sql in _STATEMENTS[schema_editor.connection.vendor][1]:
            schema_editor.execute(sql, params=None)

    def describe(self) -> str:
        """One line for `migrate`."""
        return "Full-text index over the keywords of chunks"
