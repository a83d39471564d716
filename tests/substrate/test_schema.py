"""The schema guard: what is missing, what is too new, and one line that says what to do."""

import io

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from substrate.schema import (
    SchemaMismatch,
    SchemaState,
    read_schema,
    reason_against,
    refusal_of_newer,
    require_schema,
)

pytestmark = pytest.mark.django_db

FUTURE = ("tenants", "9999_from_the_future")


def test_the_schema_of_this_version_is_accepted() -> None:
    state = read_schema()

    assert state.missing == state.unknown == ()
    assert any(name.startswith("tenants.") for name in state.newest)
    require_schema()


def test_a_missing_migration_makes_it_too_old() -> None:
    MigrationRecorder(connection).record_unapplied("tenants", "0005_retention")

    with pytest.raises(SchemaMismatch) as refused:
        require_schema()
    assert read_schema().missing == ("tenants.0005_retention",)
    assert "older than this version" in refused.value.message
    assert "tenants.0005_retention" in refused.value.message
    assert "manage.py migrate" in refused.value.message
    assert "\n" not in refused.value.message


def test_an_unknown_migration_makes_it_too_new() -> None:
    MigrationRecorder(connection).record_applied(*FUTURE)

    with pytest.raises(SchemaMismatch) as refused:
        require_schema()
    assert read_schema().unknown == ("tenants.9999_from_the_future",)
    assert "newer than this version" in refused.value.message
    assert "tenants.9999_from_the_future" in refused.value.message
    assert "\n" not in refused.value.message


def test_apps_that_this_version_does_not_have_are_newer_too() -> None:
    MigrationRecorder(connection).record_applied("billing", "0001_initial")

    assert read_schema().unknown == ("billing.0001_initial",)


def test_too_new_is_said_before_too_old() -> None:
    both = SchemaState(missing=("a.0002_x",), unknown=("a.0003_y", "a.0004_z"), newest=("a.0004_z",))

    assert reason_against(both) == refusal_of_newer(both)
    assert "a.0003_y and 1 more" in reason_against(both)


def test_an_empty_database_is_told_apart_from_an_old_one() -> None:
    empty = SchemaState(missing=("a.0001_initial",), unknown=(), newest=())

    assert "is empty" in reason_against(empty)
    assert "manage.py migrate" in reason_against(empty)


def test_migrate_refuses_a_newer_database_with_one_line() -> None:
    MigrationRecorder(connection).record_applied(*FUTURE)

    with pytest.raises(CommandError, match="newer than this version of Atrium") as refused:
        call_command("migrate", verbosity=0, interactive=False)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["0005_retention", None], ids=["too old", "too new"])
def test_commands_refuse_another_schema(name: str | None) -> None:
    recorder = MigrationRecorder(connection)
    if name:
        recorder.record_unapplied("tenants", name)
    else:
        recorder.record_applied(*FUTURE)

    with pytest.raises(CommandError, match=r"than this version of Atrium") as refused:
        call_command("create_tenant", "acme", name="Acme", stdout=io.StringIO())
    assert "\n" not in str(refused.value)
