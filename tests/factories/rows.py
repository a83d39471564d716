"""A row of any model, with what it must have made up: for tests that go over all models."""

import uuid
from itertools import count
from typing import Any

from django.db import models
from django.utils import timezone

from substrate.models import TenantOwned
from tenants.models import Tenant

_numbers = count(1)


def make_row(model: type[models.Model], tenant: Tenant, /, **given: Any) -> models.Model:
    """A saved row of `model`, and of what it points to. Rows that belong to a tenant belong to `tenant`."""
    row = build_row(model, tenant, **given)
    row.save()
    return row


def build_row(model: type[models.Model], tenant: Tenant, /, **given: Any) -> models.Model:
    """A row of `model` that is not saved yet; what it points to is."""
    values: dict[str, Any] = dict(given)
    for field in model._meta.local_concrete_fields:
        if field.name not in values and not _fills_itself(field):
            values[field.name] = _made_up(field, tenant)
    if issubclass(model, TenantOwned):
        values["tenant"] = tenant
    return model(**values)


def _fills_itself(field: models.Field[Any, Any]) -> bool:
    return (
        field.null
        or field.has_default()
        or isinstance(field, models.AutoField)
        or bool(getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False))
    )


def _made_up(field: models.Field[Any, Any], tenant: Tenant) -> Any:
    number = next(_numbers)
    if isinstance(field, models.ForeignKey):
        return tenant if field.related_model is Tenant else make_row(field.related_model, tenant)
    if field.choices:
        return field.choices[0][0]
    if isinstance(field, models.EmailField):
        return f"row-{uuid.uuid4().hex}@example.com"
    if isinstance(field, models.CharField | models.TextField):
        return f"row-{number}-{uuid.uuid4().hex}"[: field.max_length or 64]
    makers: dict[type[models.Field[Any, Any]], Any] = {
        models.UUIDField: uuid.uuid4,
        models.DateTimeField: timezone.now,
        models.BooleanField: bool,
        models.BinaryField: lambda: b"\0" * 8,
        models.JSONField: dict,
        models.IntegerField: lambda: number,
        models.FloatField: float,
    }
    for kind, make in makers.items():
        if isinstance(field, kind):
            return make()
    raise TypeError(f"no value is known for {field}")
