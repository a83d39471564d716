"""Tenant scope: which tenant's rows the code at hand may see. Outside any scope every query raises.

Three named states: no scope (raises), `tenant_scope(id)` (that tenant's rows alone), `system_scope(reason)` of
`substrate.crossing` (rows of all tenants; only in the modules that an import contract lists). A scope is also a unit of work: it opens a
transaction, and on PostgreSQL it sets the variable that row-level security checks, or the role that may cross
tenants, for just that transaction.
"""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connection, models, transaction

M = TypeVar("M", bound=models.Model, covariant=True)

APP_ROLE = "atrium_app"
SYSTEM_ROLE = "atrium_system"


class ScopeError(RuntimeError):
    """A tenant-owned row was asked for outside of any scope, or a scope was opened inside one of another tenant."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope at hand: one tenant, or the whole system with the reason why."""

    tenant_id: uuid.UUID | None
    reason: str = ""


_current: ContextVar[Scope | None] = ContextVar("atrium_scope", default=None)


def current_scope() -> Scope:
    """The scope at hand. Raises ScopeError outside of any."""
    scope = _current.get()
    if scope is None:
        raise ScopeError("tenant-owned rows were asked for outside of tenant_scope() and system_scope()")
    return scope


def open_scope() -> Scope | None:
    """The scope at hand, or None outside of any."""
    return _current.get()


def has_scope() -> bool:
    """Whether any scope is open."""
    return _current.get() is not None


@contextmanager
def tenant_scope(tenant_id: uuid.UUID, *, read_only: bool = False) -> Iterator[Scope]:
    """See and write the rows of `tenant_id` alone, in one transaction.

    Opening the same tenant's scope again nests; another tenant's raises ScopeError. Inside a system scope it narrows.
    `read_only` promises that nothing is written: SQLite then takes no write lock.
    """
    outer = _current.get()
    if outer is not None and outer.tenant_id not in (None, tenant_id):
        raise ScopeError("a scope of one tenant was opened inside the scope of another")
    with entered(Scope(tenant_id), outer, read_only=read_only) as scope:
        yield scope


@contextmanager
def entered(scope: Scope, outer: Scope | None, *, read_only: bool) -> Iterator[Scope]:
    """Open `scope` inside `outer`: for `tenant_scope` and `substrate.crossing` alone, which check that it may be."""
    token = _current.set(scope)
    try:
        if read_only and connection.vendor == "sqlite":
            # SQLite transactions are IMMEDIATE here: a reader would queue behind every writer for nothing.
            yield scope
            return
        with transaction.atomic(savepoint=outer != scope):
            _tell_database(scope)
            yield scope
            # After an error the rollback restores these settings by itself.
            if outer is not None and outer != scope:
                _tell_database(outer)
    finally:
        _current.reset(token)


def _tell_database(scope: Scope) -> None:
    if connection.vendor != "postgresql":
        return
    role = APP_ROLE if scope.tenant_id else SYSTEM_ROLE
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('app.tenant_id', %s, true), set_config('role', %s, true)",
            [str(scope.tenant_id or ""), role],
        )


class ScopedQuerySet(models.QuerySet[M]):
    """Rows of the scope at hand; bulk writes are checked against it."""

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        """Write rows as `save` does: a missing tenant is taken from the scope, a foreign one raises ScopeError."""
        rows: list[Any] = list(objs)
        scope = current_scope()
        if scope.tenant_id is not None:
            for row in rows:
                if row.tenant_id is None:
                    row.tenant_id = scope.tenant_id
                elif row.tenant_id != scope.tenant_id:
                    raise ScopeError("a row of another tenant would have been written")
        return super().bulk_create(rows, *args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        """Change rows; giving them to another tenant raises ScopeError."""
        tenant = kwargs.get("tenant_id", getattr(kwargs.get("tenant"), "pk", None))
        scope = current_scope()
        if tenant is not None and scope.tenant_id not in (None, tenant):
            raise ScopeError("rows would have been given to another tenant")
        return super().update(**kwargs)


class ScopedManager(models.Manager[M]):
    """Django's manager for tenant-owned rows: filters by the scope at hand, and raises ScopeError without one."""

    def get_queryset(self) -> models.QuerySet[M]:
        """The rows of the scope at hand."""
        scope = current_scope()
        rows: ScopedQuerySet[M] = ScopedQuerySet(self.model, using=self._db)
        return rows if scope.tenant_id is None else rows.filter(tenant_id=scope.tenant_id)
