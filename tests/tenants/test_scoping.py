"""Every tenant-owned model, of every app: no query outside of a scope, no row of another tenant inside of one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from factories.tenants import make_key, make_membership, make_tenant

from substrate.crossing import system_scope
from substrate.models import TenantOwned
from substrate.scoping import ScopeError, tenant_scope
from tenants.models import ApiKey, Membership

MODELS = [model for model in apps.get_models() if issubclass(model, TenantOwned)]

ACTS: dict[str, Callable[[type[Any]], object]] = {
    "all": lambda model: list(model.objects.all()),
    "get": lambda model: model.objects.get(id=None),
    "count": lambda model: model.objects.count(),
    "exists": lambda model: model.objects.exists(),
    "update": lambda model: model.objects.update(created_at=None),
    "delete": lambda model: model.objects.all().delete(),
    "bulk_create": lambda model: model.objects.bulk_create([]),
    "create": lambda model: model.objects.create(),
    "save": lambda model: model().save(),
    "base manager": lambda model: list(model._base_manager.all()),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_without_a_scope_everything_raises(
    model: type[models.Model], act: Callable[[type[Any]], object]
) -> None:
    with pytest.raises(ScopeError):
        act(model)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_an_index_starts_with_the_tenant(model: type[models.Model]) -> None:
    leading = [list(index.fields)[:1] for index in model._meta.indexes]
    leading += [
        list(each.fields)[:1] for each in model._meta.constraints if isinstance(each, models.UniqueConstraint)
    ]
    assert any(fields and fields[0].lstrip("-") == "tenant" for fields in leading)


@pytest.mark.django_db
def test_a_scope_sees_its_own_tenant_alone() -> None:
    mine, other = make_tenant(), make_tenant()
    for tenant in (mine, other):
        make_membership(tenant)
        make_key(tenant)
    for model in (Membership, ApiKey):
        with tenant_scope(mine.id):
            assert [row.tenant_id for row in model.objects.all()] == [mine.id]
            foreign = model(tenant_id=other.id)
            with pytest.raises(ScopeError):
                foreign.save()
        with system_scope("tests"):
            assert model.objects.count() == 2


def test_the_tenants_own_models_are_among_them() -> None:
    assert {"tenants.Membership", "tenants.ApiKey", "tenants.UsageRecord", "substrate.Job"} <= {
        model._meta.label for model in MODELS
    }
