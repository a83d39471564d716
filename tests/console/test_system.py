"""The system page's figures: for operators alone, without a secret; and processes that tell they are there."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user
from fakes.clocks import FrozenClock

from console import installation
from kernel.backends import backends
from substrate.models import ServerProcess
from substrate.processes import forget_gone_processes, leave_process, list_processes, note_process
from tenants.types import Role

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def operator() -> Client:
    tenant = make_tenant()
    membership = make_membership(tenant, make_user(is_operator=True), role=Role.OWNER)
    return key_client(tenant, role=Role.OWNER, user=membership.user)


def test_for_operators_alone() -> None:
    assert operator().get("/api/v1/system").status_code == 200
    assert operator().get("/api/v1/system/")["Cache-Control"] == "no-store"
    assert key_client(make_tenant(), role=Role.OWNER).get("/api/v1/system").status_code == 403
    assert Client().get("/api/v1/system").status_code == 401


def test_it_says_what_the_installation_is_made_of() -> None:
    note_process(role="gateway", version="0.1.0")

    body = operator().get("/api/v1/system").json()

    parts = {each["part"]: each for each in body["versions"]}
    assert {"atrium", "python", "django", "sqlite"} <= set(parts)
    assert all(each["state"] == "ok" and each["version"] for each in parts.values())
    assert body["profile"] == "embedded"
    assert body["schema"]["problem"] == ""
    assert any(name.startswith("substrate.") for name in body["schema"]["newest"])
    assert body["database_bytes"] > 0
    assert body["disk"]["path"] == str(settings.ATRIUM.home)
    assert 0 < body["disk"]["free"] <= body["disk"]["total"]
    assert [(each["role"], each["running"]) for each in body["processes"]] == [("gateway", True)]
    licences = {each["name"].lower(): each["licence"] for each in body["licences"]}
    assert licences["django"] == "BSD-3-Clause"
    assert "atrium" not in licences


def test_no_secret_of_the_installation_is_in_it() -> None:
    text = operator().get("/api/v1/system").content.decode()

    assert settings.SECRET_KEY not in text
    assert (settings.ATRIUM.home / "keyring").read_text().strip() not in text
    by_name = {each["name"]: each for each in json.loads(text)["configuration"]}
    assert by_name["ATRIUM_SECRET_KEY"]["is_set"] is True
    assert by_name["ATRIUM_SECRET_KEY"]["value"] == ""


def test_a_schema_that_does_not_fit_is_said() -> None:
    MigrationRecorder(connection).record_applied("tenants", "9999_future")

    assert "newer than this version" in operator().get("/api/v1/system").json()["schema"]["problem"]


def test_most_licences_are_known() -> None:
    found = installation.licences()

    assert len(found) > 100
    unknown = [each.name for each in found if not each.licence]
    assert len(unknown) <= len(found) * 0.03, unknown
    assert all(len(each.licence) <= 100 for each in found)


def test_npm_licences_come_from_the_build(tmp_path: Path, settings: object) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "licences.json").write_text('[{"name": "svelte", "version": "5.57.3", "licence": "MIT"}]')
    settings.STATIC_ROOT = tmp_path  # type: ignore[attr-defined]  # pytest-django's wrapper

    assert installation.Licence("svelte", "5.57.3", "MIT", "npm") in installation.licences.__wrapped__()


class Services:
    def ask(self) -> dict[str, str]:
        return {"weaviate": "", "redis": "8.2.1"}


def test_services_say_their_version_or_are_away() -> None:
    usual = backends["service_versions"]
    backends.replace("service_versions", Services())
    try:
        found = installation.versions()[-2:]
    finally:
        backends.replace("service_versions", usual)

    assert found == [
        installation.PartVersion("redis", "8.2.1", "ok"),
        installation.PartVersion("weaviate", "", "away"),
    ]


class TestProcesses:
    def test_a_process_is_one_row_however_often_it_tells(self) -> None:
        clock = FrozenClock(NOW)
        note_process(role="gateway", version="1", clock=clock)
        clock.advance(30)
        note_process(role="gateway", version="1", clock=clock)

        (found,) = list_processes(clock=clock)
        assert found.seen_at == NOW + timedelta(seconds=30)
        assert found.running

    def test_silence_is_noticed_then_forgotten(self) -> None:
        clock = FrozenClock(NOW)
        note_process(role="gateway", version="1", host="a", pid=1, clock=clock)
        clock.advance(91)
        note_process(role="worker", version="1", host="a", pid=2, clock=clock)
        assert [(each.role, each.running) for each in list_processes(clock=clock)] == [
            ("gateway", False),
            ("worker", True),
        ]
        clock.advance(3600)
        assert [each.role for each in list_processes(clock=clock)] == ["worker"]
        assert forget_gone_processes(clock=clock) == 1
        assert ServerProcess.objects.get().role == "worker"

    def test_who_ends_says_so(self) -> None:
        note_process(role="gateway", version="1")
        note_process(role="gateway", version="1", host="elsewhere", pid=7)

        leave_process(role="gateway")

        assert [each.host for each in list_processes()] == ["elsewhere"]
