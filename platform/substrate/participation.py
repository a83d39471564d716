"""What a tenant owns in one app's tables: written out, deleted, counted, and searched for traces.

`TableParticipant` reads the app's models and finds by itself what refers to a tenant, so that a new table is exported
and deleted without anybody thinking of it. Apps derive from it for what they keep elsewhere (`TenantParticipant`).
"""

import base64
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from graphlib import TopologicalSorter
from typing import Any, ClassVar

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Cast
from django.db.models.lookups import Contains

from kernel.ids import parse_uuid
from substrate.audit_keeping import delete_acts_of
from substrate.crossing import system_scope
from substrate.idempotency import forget_records_about
from substrate.models import IdempotencyRecord, TenantAct, TenantChain, TenantOwned
from substrate.ports import ExportedPiece
from substrate.scoping import tenant_scope
from substrate.units import run_unit

# Rows of one page: read or searched in one unit of work.
PAGE = 500
SEARCHED_AT_ONCE = 5_000


class TableParticipant:
    """`TenantParticipant` over the tables of `apps`, in an order in which what refers goes first.

    `secrets` are columns that never leave the house, by model; `kept_in` models that no archive holds, each with its
    reason.
    """

    apps: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[Mapping[str, frozenset[str]]] = {}
    kept_in: ClassVar[Mapping[str, str]] = {}

    def owns(self) -> Sequence[str]:
        """As the port says."""
        return [model._meta.label for model in self._owned()]

    async def export(self, tenant_id: uuid.UUID) -> AsyncIterator[ExportedPiece]:
        """As the port says: a file of JSON lines for each table, empty ones too."""
        for model in reversed(self._owned()):
            label = model._meta.label
            if label in self.kept_in:
                continue
            path, after, more = f"tables/{label}.jsonl", None, True
            while more:
                lines, after = await run_unit(self._page, model, tenant_id, after)
                more = len(lines) == PAGE
                yield ExportedPiece(path, b"".join(lines), len(lines))

    async def delete(self, tenant_id: uuid.UUID, limit: int) -> int:
        """As the port says."""
        for model in self._owned():
            gone = await run_unit(self.delete_rows, model, tenant_id, limit)
            if gone:
                return gone
        await self.delete_outside(tenant_id)
        return 0

    async def count(self, tenant_id: uuid.UUID) -> Mapping[str, int]:
        """As the port says."""
        return {**await run_unit(self._count_rows, tenant_id), **await self.count_outside(tenant_id)}

    async def find_canary(self, canaries: Sequence[str]) -> Mapping[str, int]:
        """As the port says: in every table of the apps, those of no tenant too; some thousand rows at a time."""
        found: dict[str, int] = {}
        for model in self.searched():
            asked = _any_column_holds(model, canaries)
            after: object = None
            while asked is not None:
                count, after = await run_unit(_search, model, asked, after)
                if count:
                    found[model._meta.label] = found.get(model._meta.label, 0) + count
                if after is None:
                    break
        return found

    def searched(self) -> list[type[Model]]:
        """Every model that is searched for traces."""
        return [model for model in _all_models() if model._meta.app_label in self.apps]

    def delete_rows(self, model: type[Model], tenant_id: uuid.UUID, limit: int) -> int:
        """Delete up to `limit` rows of `model` in one transaction; returns how many went. A unit of work."""
        with tenant_scope(tenant_id):
            ids = list(_rows(model, tenant_id).values_list("pk", flat=True)[:limit])
            _rows(model, tenant_id).filter(pk__in=ids).delete()
        return len(ids)

    async def delete_outside(self, tenant_id: uuid.UUID) -> None:
        """Delete what the app keeps elsewhere; called when no row is left, perhaps several times."""

    async def count_outside(self, tenant_id: uuid.UUID) -> Mapping[str, int]:
        """How much the app keeps elsewhere, by name."""
        return {}

    def _owned(self) -> list[type[Model]]:
        return [model for model in owned_models() if model._meta.app_label in self.apps]

    def _count_rows(self, tenant_id: uuid.UUID) -> dict[str, int]:
        with tenant_scope(tenant_id, read_only=True):
            return {model._meta.label: _rows(model, tenant_id).count() for model in self._owned()}

    def _page(self, model: type[Model], tenant_id: uuid.UUID, after: object) -> tuple[list[bytes], object]:
        hidden = self.secrets.get(model._meta.label, frozenset())
        columns = [each for each in model._meta.concrete_fields if each.attname not in hidden]
        names = [each.attname for each in columns]
        with tenant_scope(tenant_id, read_only=True):
            rows = _rows(model, tenant_id)
            if after is not None:
                rows = rows.filter(pk__gt=after)
            found = list(rows.order_by("pk").values_list("pk", *names)[:PAGE])
        lines = [line_of(dict(zip(names, row[1:], strict=True))) for row in found]
        return lines, found[-1][0] if found else after


class SubstrateParticipant(TableParticipant):
    """Jobs, records of repeated requests and the audit; and the search through the tables that nobody else answers for."""

    apps = ("substrate",)
    kept_in: ClassVar[Mapping[str, str]] = {
        IdempotencyRecord._meta.label: "answers kept for a day for callers who repeat themselves; they may hold a new key",
    }

    def searched(self) -> list[type[Model]]:
        """Its own tables, and those of every app that has no participant: of other packages too."""
        others = {name.partition(".")[2] for name in settings.BACKENDS if name.startswith("participant.")}
        return [model for model in _all_models() if model._meta.app_label not in others - set(self.apps)]

    async def delete_outside(self, tenant_id: uuid.UUID) -> None:
        """What operators sent to the tenant's addresses is remembered in tenants of their own."""
        await run_unit(forget_records_about, tenant_id=tenant_id)

    def delete_rows(self, model: type[Model], tenant_id: uuid.UUID, limit: int) -> int:
        """The audit is append-only for everybody else: its chain is let go first."""
        if issubclass(model, TenantAct | TenantChain):
            return delete_acts_of(tenant_id=tenant_id, limit=limit)
        return super().delete_rows(model, tenant_id, limit)


@cache
def owned_models() -> tuple[type[Model], ...]:
    """Every model of ours that refers to a tenant; what refers to others of them stands before those."""
    found = [model for model in _all_models() if _tenant_column(model)]
    graph = {
        model: {
            other
            for other in found
            if other is not model and any(each.related_model is model for each in other._meta.concrete_fields)
        }
        for model in sorted(found, key=lambda each: each._meta.label)
    }
    return tuple(TopologicalSorter(graph).static_order())


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON: binary columns in base64, moments in ISO 8601, ids as text."""
    return json.dumps(row, default=_written).encode() + b"\n"


def _written(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat() if isoformat else value)


def _all_models() -> list[type[Model]]:
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]


def _tenant_column(model: type[Model]) -> bool:
    if issubclass(model, TenantOwned):
        return True
    return any(
        isinstance(each, models.ForeignKey) and each.related_model._meta.label == "tenants.Tenant"
        for each in model._meta.concrete_fields
    )


def _rows(model: type[Model], tenant_id: uuid.UUID) -> QuerySet[Any]:
    return model._base_manager.filter(tenant_id=tenant_id)


def _any_column_holds(model: type[Model], canaries: Sequence[str]) -> Q | None:
    """The condition that any column of a row holds one of the texts or ids; None where no column can."""
    ids = [each for each in map(parse_uuid, canaries) if each is not None]
    asked = None
    for field in model._meta.concrete_fields:
        name = field.attname
        parts: list[Q] = []
        target = field.target_field if isinstance(field, models.ForeignKey) else field
        if isinstance(target, models.UUIDField):
            parts = [Q(**{f"{name}__in": ids})] if ids else []
        elif isinstance(field, models.JSONField):
            parts = [Q(Contains(Cast(name, models.TextField()), each)) for each in canaries]
        elif isinstance(field, models.CharField | models.TextField):
            parts = [Q(**{f"{name}__contains": each}) for each in canaries]
        for part in parts:
            asked = part if asked is None else asked | part
    return asked


def _search(model: type[Model], asked: Q, after: object) -> tuple[int, object]:
    """How many rows of a stretch hold it, and where the next stretch begins (None: it was the last)."""
    with system_scope("look for traces of a deleted tenant", read_only=True):
        rows = model._base_manager.order_by("pk")
        if after is not None:
            rows = rows.filter(pk__gt=after)
        last = rows.values_list("pk", flat=True)[SEARCHED_AT_ONCE - 1 : SEARCHED_AT_ONCE]
        end = next(iter(last), None)
        if end is not None:
            rows = rows.filter(pk__lte=end)
        return rows.filter(asked).count(), end
