"""What the database itself holds of the audit: rows are appended, never changed, and deleted only from the oldest on.

On both databases triggers refuse every change of a linked act, and every deletion that its chain has not let go
before (`forgotten_seq`); a chain's numbers never go back. On PostgreSQL the application's role has no right to change or
delete acts in the first place, nor to touch more of a chain than its end. Made anew at the end of each `migrate`,
because SQLite drops a table's triggers when a migration rebuilds it.
"""

from dataclasses import dataclass

from substrate.scoping import APP_ROLE

REFUSED = "the audit is append-only"


@dataclass(frozen=True, slots=True)
class _Kept:
    """Acts, and the chains they are in: a chain's column `key` has the value of an act's column `via`."""

    acts: str
    chains: str
    key: str
    via: str


KEPT = (
    _Kept("substrate_tenantact", "substrate_tenantchain", "tenant_id", "tenant_id"),
    _Kept("substrate_platformact", "substrate_platformchain", "id", "chain_id"),
)
APPEND_ONLY_TABLES = tuple(kept.acts for kept in KEPT)


def append_only_statements(vendor: str) -> list[str]:
    """SQL that makes the triggers on `vendor` (sqlite or postgresql). Safe to run again."""
    make = _postgresql if vendor == "postgresql" else _sqlite
    return [statement for kept in KEPT for statement in make(kept)]


def withheld_rights() -> str:
    """SQL that takes from the application's role on PostgreSQL what no application may do to the audit."""
    statements = []
    for kept in KEPT:
        statements += [
            f"REVOKE UPDATE, DELETE ON {kept.acts} FROM {APP_ROLE}",
            f"REVOKE UPDATE, DELETE ON {kept.chains} FROM {APP_ROLE}",
            f"GRANT UPDATE (seq, head, updated_at) ON {kept.chains} TO {APP_ROLE}",
        ]
    return "; ".join(statements)


def _sqlite(kept: _Kept) -> list[str]:
    held = f"EXISTS (SELECT 1 FROM {kept.chains} c WHERE c.{kept.key} = OLD.{kept.via} AND c.forgotten_seq < OLD.seq)"  # noqa: S608 - names of ours
    rules = {
        (kept.acts, "UPDATE", "changed"): "OLD.seq IS NOT NULL",
        (kept.acts, "DELETE", "deleted"): f"OLD.seq IS NOT NULL AND {held}",
        (kept.chains, "UPDATE", "turned"): _TURNED,
        (kept.chains, "DELETE", "deleted"): "OLD.forgotten_seq < OLD.seq",
    }
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table}_not_{what} BEFORE {when} ON {table} WHEN {rule} "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
        for (table, when, what), rule in rules.items()
    ]


_TURNED = (
    "NEW.seq < OLD.seq OR NEW.forgotten_seq < OLD.forgotten_seq OR NEW.forgotten_seq > NEW.seq "
    "OR (NEW.seq = OLD.seq AND NEW.head <> OLD.head)"
)


def _postgresql(kept: _Kept) -> list[str]:
    held = f"EXISTS (SELECT 1 FROM {kept.chains} c WHERE c.{kept.key} = OLD.{kept.via} AND c.forgotten_seq < OLD.seq)"  # noqa: S608 - names of ours
    bodies = {
        kept.acts: f"IF OLD.seq IS NOT NULL AND (TG_OP = 'UPDATE' OR {held}) THEN",
        kept.chains: (
            f"IF (TG_OP = 'DELETE' AND OLD.forgotten_seq < OLD.seq) OR (TG_OP = 'UPDATE' AND ({_TURNED})) THEN"
        ),
    }
    statements = []
    for table, rule in bodies.items():
        statements += [
            f"CREATE OR REPLACE FUNCTION {table}_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"{rule} RAISE EXCEPTION '{REFUSED}'; END IF; "
            "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$",
            f"CREATE OR REPLACE TRIGGER {table}_keep BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_keep()",
        ]
    return statements
