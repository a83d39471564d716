"""Scopes: without one everything raises, with a tenant's only its rows are there, the system's sees all."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models, transaction
from django.utils import timezone
from factories.tenants import make_tenant

from substrate.crossing import system_scope, system_scope_uses
from substrate.models import Job, TenantOwned
from substrate.scoping import (
    Scope,
    ScopeError,
    current_scope,
    has_scope,
    tenant_scope,
)

pytestmark = pytest.mark.django_db

OWNED = [model for model in apps.get_models() if issubclass(model, TenantOwned)]
ANY = uuid.uuid4()


def make_job(kind: str = "knowledge.ingest", **fields: Any) -> Job:
    return Job.objects.create(kind=kind, run_after=timezone.now(), **fields)


def write_and_fail(tenant_id: uuid.UUID) -> None:
    with tenant_scope(tenant_id):
        make_job()
        _ = 1 / 0


ACTS: dict[str, Callable[[Any], object]] = {
    "all": lambda rows: list(rows.all()),
    "get": lambda rows: rows.get(pk=ANY),
    "count": lambda rows: rows.count(),
    "exists": lambda rows: rows.exists(),
    "filter-update": lambda rows: rows.filter(pk=ANY).update(created_at=None),
    "filter-delete": lambda rows: rows.filter(pk=ANY).delete(),
    "bulk_create": lambda rows: rows.bulk_create([rows.model(tenant_id=ANY)]),
    "save": lambda rows: rows.model(tenant_id=ANY).save(),
    "refresh": lambda rows: rows.model(pk=ANY).refresh_from_db(),
    "delete": lambda rows: rows.model(pk=ANY).delete(),
    "base": lambda rows: rows.model._base_manager.count(),
    "default": lambda rows: rows.model._default_manager.count(),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("model", OWNED, ids=lambda model: model._meta.label)
def test_outside_of_any_scope_every_act_raises(model: type[models.Model], act: str) -> None:
    with pytest.raises(ScopeError):
        ACTS[act](model._default_manager)


def test_no_scope_is_open_by_itself() -> None:
    assert not has_scope()
    with pytest.raises(ScopeError):
        current_scope()


def test_a_tenant_sees_its_rows_alone() -> None:
    one, other = make_tenant(), make_tenant()
    with tenant_scope(one.id):
        mine = make_job()
    with tenant_scope(other.id):
        theirs = make_job()
        assert list(Job.objects.all()) == [theirs]
        assert not Job.objects.filter(pk=mine.pk).exists()
        with pytest.raises(Job.DoesNotExist):
            Job.objects.get(pk=mine.pk)
        assert Job.objects.filter(pk=mine.pk).update(error="touched") == 0
        assert Job.objects.filter(pk=mine.pk).delete()[0] == 0
        with pytest.raises(Job.DoesNotExist):
            mine.refresh_from_db()
    with system_scope("test", read_only=True):
        assert set(Job.objects.values_list("pk", "error")) == {(mine.pk, ""), (theirs.pk, "")}


def test_a_row_takes_its_tenant_from_the_scope() -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        assert make_job().tenant_id == tenant.id
        (row,) = Job.objects.bulk_create([Job(kind="k", run_after=timezone.now())])
        assert row.tenant_id == tenant.id


def test_rows_of_another_tenant_are_not_written() -> None:
    one, other = make_tenant(), make_tenant()
    with tenant_scope(one.id):
        mine = make_job()
        for write in (
            lambda: make_job(tenant_id=other.id),
            lambda: Job.objects.bulk_create([Job(tenant_id=other.id, kind="k", run_after=timezone.now())]),
            lambda: Job.objects.filter(pk=mine.pk).update(tenant_id=other.id),
            lambda: Job.objects.filter(pk=mine.pk).update(tenant=other),
        ):
            with pytest.raises(ScopeError):
                write()
    with system_scope("test", read_only=True):
        assert list(Job.objects.values_list("tenant_id", flat=True)) == [one.id]


def test_a_row_held_from_another_scope_is_not_saved() -> None:
    one, other = make_tenant(), make_tenant()
    with tenant_scope(one.id):
        mine = make_job()
    with tenant_scope(other.id):
        for act in (mine.save, mine.delete):
            with pytest.raises(ScopeError):
                act()
    with tenant_scope(one.id):
        mine.delete()
        assert Job.objects.count() == 0


def test_the_same_tenant_nests() -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id) as outer:
        with tenant_scope(tenant.id) as inner:
            make_job()
        assert outer == inner == current_scope()
        assert Job.objects.count() == 1


def test_a_foreign_scope_inside_a_tenants_is_refused() -> None:
    one, other = make_tenant(), make_tenant()
    with tenant_scope(one.id):
        with pytest.raises(ScopeError), tenant_scope(other.id):
            pass
        with pytest.raises(ScopeError), system_scope("a way out"):
            pass
        assert current_scope() == Scope(one.id)


def test_inside_the_system_a_tenants_scope_narrows_and_widens_again() -> None:
    one, other = make_tenant(), make_tenant()
    with system_scope("test"):
        for tenant in (one, other):
            with tenant_scope(tenant.id):
                make_job()
                assert Job.objects.count() == 1
        assert Job.objects.count() == 2
    assert not has_scope()


def test_the_system_gives_no_tenant_to_a_row() -> None:
    with system_scope("test"), pytest.raises(Exception, match="NOT NULL"), transaction.atomic():
        make_job()


def test_each_use_of_the_system_scope_is_counted_under_its_reason() -> None:
    before = system_scope_uses["count me"]
    for _ in range(3):
        with system_scope("count me", read_only=True):
            pass
    assert system_scope_uses["count me"] == before + 3
    with pytest.raises(ScopeError), system_scope(""):
        pass


def test_an_error_rolls_the_whole_scope_back_and_closes_it() -> None:
    tenant = make_tenant()
    with pytest.raises(ZeroDivisionError):
        write_and_fail(tenant.id)
    assert not has_scope()
    with tenant_scope(tenant.id):
        assert Job.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_scope_is_a_transaction_and_reading_alone_takes_no_lock_on_sqlite() -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        assert connection.in_atomic_block
    with tenant_scope(tenant.id, read_only=True):
        assert connection.in_atomic_block is (connection.vendor != "sqlite")
        assert Job.objects.count() == 0
    assert not connection.in_atomic_block


@pytest.mark.django_db(transaction=True)
def test_writing_inside_of_reading_is_a_transaction() -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id, read_only=True):
        with pytest.raises(ZeroDivisionError):
            write_and_fail(tenant.id)
        assert Job.objects.count() == 0


def test_deleting_a_tenant_is_the_systems_business() -> None:
    one, other = make_tenant(), make_tenant()
    for tenant in (one, other):
        with tenant_scope(tenant.id):
            make_job()
    with pytest.raises(ScopeError):
        one.delete()
    with system_scope("test"):
        one.delete()
        assert list(Job.objects.values_list("tenant_id", flat=True)) == [other.id]
