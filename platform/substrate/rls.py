"""Row-level security on PostgreSQL: the second wall behind the scoped rows.

Three roles. The owner (the login of `ATRIUM_DATABASE_URL`) owns the tables and is used by `migrate` alone.
`atrium_app` is what every connection runs as: for tenant-owned tables it sees the rows of the tenant named by the
transaction's `app.tenant_id` and nothing without it. `atrium_system` sees the rows of all tenants; only
`system_scope` switches to it, for one transaction. Row-level security is forced: owning a table is no way around the
policies. (The owner sees all rows nevertheless, as a member of `atrium_system`; so nothing but `migrate` works as it.)
"""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from substrate.scoping import APP_ROLE, SYSTEM_ROLE

_MAKE_ROLE = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
# Until PostgreSQL 15 every member may SET ROLE; from 16 on that is a right of its own.
_JOIN_ROLE = """
DO $$ BEGIN
  IF NOT pg_has_role(session_user, '{role}',
      CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
    EXECUTE format('GRANT {role} TO %I', session_user);
  END IF;
END $$
"""


def role_statements() -> list[str]:
    """SQL that makes the two roles and lets the login switch to them. Needs CREATEROLE, or the roles made before."""
    made = [_MAKE_ROLE.format(role=role) for role in (APP_ROLE, SYSTEM_ROLE)]
    return made + [_JOIN_ROLE.format(role=role) for role in (APP_ROLE, SYSTEM_ROLE)]


def grant_statements(tenant_tables: list[str], *, withheld: str = "") -> list[str]:
    """SQL that grants rows, never structure: all tables to both roles, the list of migrations for reading alone.

    `withheld` is SQL that takes some of it from the application's role again.
    """
    statements = []
    for role in (APP_ROLE, SYSTEM_ROLE):
        # One command, and so one transaction: there is no moment in which too much is granted.
        rights = [
            f"GRANT USAGE ON SCHEMA public TO {role}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
            f"REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}",
        ]
        statements.append("; ".join([*rights, withheld] if withheld and role == APP_ROLE else rights))
    return statements + [sql for table in tenant_tables for sql in isolation_statements(table)]


def isolation_statements(table: str) -> list[str]:
    """SQL that enables and forces row-level security on `table` with its two policies. Safe to run again."""
    mine = "tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid"
    return [
        f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
        f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY',
        f'DROP POLICY IF EXISTS tenant_rows ON "{table}"',
        f'CREATE POLICY tenant_rows ON "{table}" TO {APP_ROLE} USING ({mine}) WITH CHECK ({mine})',
        f'DROP POLICY IF EXISTS system_rows ON "{table}"',
        f'CREATE POLICY system_rows ON "{table}" TO {SYSTEM_ROLE} USING (true) WITH CHECK (true)',
    ]


class IsolateTenants(Operation):
    """Migration operation: row-level security for the tables of tenant-owned models. Nothing on other databases."""

    reversible = True
    reduces_to_sql = True

    def __init__(self, *model_names: str) -> None:
        """`model_names` are models of the migration's own app."""
        self.model_names = model_names

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """How the migration writer would spell it."""
        return self.__class__.__qualname__, list(self.model_names), {}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models stay as they are."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Make the roles if need be, then enable, force and grant."""
        if schema_editor.connection.vendor != "postgresql":
            return
        statements = role_statements()
        for name in self.model_names:
            statements += isolation_statements(to_state.apps.get_model(app_label, name)._meta.db_table)
        for sql in statements:
            schema_editor.execute(sql, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Nothing: dropping the table drops its policies."""

    def describe(self) -> str:
        """One line for `migrate`."""
        return f"Row-level security for {', '.join(self.model_names)}"
