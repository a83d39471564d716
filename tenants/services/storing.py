"""What comes from the spool into rows of its own, and goes again after its time. Never the ledger, which has its own way."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import structlog
from django.db import DataError, IntegrityError, transaction
from django.db.models import QuerySet

from substrate.crossing import system_scope
from substrate.models import TenantOwned
from substrate.scoping import Scope
from tenants.models import Tenant

log = structlog.get_logger(__name__)

# Rows deleted at once, so that nobody waits long for a lock.
DELETE_BATCH = 2_000


class _OfTenant(Protocol):
    @property
    def tenant_id(self) -> uuid.UUID:
        """Whose it is."""
        ...


E = TypeVar("E", bound=_OfTenant)
R = TypeVar("R", bound=TenantOwned)


def store_rows(entries: Sequence[E], model: type[R], row_of: Callable[[E], R]) -> None:
    """Write entries as rows; one that is there already stays as it is. Those of tenants that are gone are dropped, and one
    that the database refuses does not hold up the others.
    """
    with system_scope("drain the usage spool"):
        ids = {each.tenant_id for each in entries}
        known = set(Tenant.objects.filter(id__in=ids).values_list("id", flat=True))
        rows = [row_of(each) for each in entries if each.tenant_id in known]
        if not _written(model, rows):
            for row in rows:
                _written(model, [row])


def _written(model: type[R], rows: list[R]) -> bool:
    try:
        with transaction.atomic():
            model.objects.bulk_create(rows, ignore_conflicts=True)
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            log.error("row_refused", kind=model.__name__, record_id=str(rows[0].id), error=str(error))
        return False
    return True


def delete_rows(rows: Callable[[], QuerySet[Any]], scope: Callable[[], AbstractContextManager[Scope]]) -> int:
    """Delete what `rows` finds, some at once, each time in a scope of its own; returns how many."""
    deleted = 0
    while True:
        with scope():
            ids = list(rows().values_list("id", flat=True)[:DELETE_BATCH])
            if ids:
                rows().model._default_manager.filter(id__in=ids).delete()
        deleted += len(ids)
        if len(ids) < DELETE_BATCH:
            return deleted
