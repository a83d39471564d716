"""`manage.py audit_verify` and the way of acts out of the installation."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from factories.tenants import make_tenant
from fakes.audits import TABLE, drop_guards, execute, write_acts

from config.settings.environment import SettingError, read_environment
from kernel.backends import BackendSpec, backends
from substrate.audit import record_act

FILE = "substrate.adapters.audit_forwards.FileAuditForward"


def run(*arguments: str) -> Any:
    out = StringIO()
    call_command("audit_verify", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.django_db
def test_it_walks_every_chain_and_names_what_is_bad() -> None:
    # The platform's own, unless a test that ran before has emptied the tables.
    chains = run()["chains"]
    one, other = make_tenant(), make_tenant()
    write_acts(one.id, 3)
    write_acts(other.id, 2)
    assert run() == {"whole": True, "chains": chains + 2, "rows": 5, "anchors": 0, "bad": []}
    drop_guards()
    execute(f"DELETE FROM {TABLE} WHERE tenant_id = %s AND seq = 2", one.id.hex)
    with pytest.raises(CommandError) as failed:
        run()
    (bad,) = json.loads(str(failed.value))["bad"]
    assert (bad["tenant_id"], bad["seq"], bad["reason"]) == (str(one.id), 3, "act 2 is missing before it")
    with pytest.raises(CommandError, match=f"tenant {one.id}: act 3 "):
        call_command("audit_verify")
    assert run("--tenant", other.slug)["rows"] == 2
    with pytest.raises(CommandError, match="no tenant"):
        run("--tenant", "nobody")


@pytest.mark.django_db(transaction=True)
def test_what_was_sent_on_tells_of_an_end_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    forward = BackendSpec("substrate.ports.AuditForward", FILE, {"path": str(path)})
    monkeypatch.setattr(backends, "_specs", {**backends.specs, "audit_forward": forward})
    tenant = make_tenant()
    write_acts(tenant.id, 3)
    record_act(act="drained", kind="replica", object_id="r")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 1]
    assert path.stat().st_mode & 0o777 == 0o600
    assert run("--anchors", str(path)) == {"whole": True, "chains": 2, "rows": 4, "anchors": 4, "bad": []}
    drop_guards()
    execute(f"DELETE FROM {TABLE} WHERE seq = 3")
    execute("UPDATE substrate_tenantchain SET seq = 2, head = %s", lines[1]["hash"])
    assert run()["whole"]
    with pytest.raises(CommandError, match="an anchor tells of a row that is gone"):
        run("--anchors", str(path))
    call_command("migrate", verbosity=0)
    path.write_text("{}\n")
    with pytest.raises(CommandError, match="no line of the audit"):
        run("--anchors", str(path))


@pytest.mark.django_db(transaction=True)
def test_a_forward_that_cannot_be_written_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = BackendSpec("substrate.ports.AuditForward", FILE, {"path": str(tmp_path / "gone" / "x")})
    monkeypatch.setattr(backends, "_specs", {**backends.specs, "audit_forward": forward})
    tenant = make_tenant()
    write_acts(tenant.id, 1)
    assert run("--tenant", tenant.slug)["rows"] == 1


@pytest.mark.parametrize("value", ["audit.jsonl", "file:///nowhere/at/all.jsonl", "http://collector", "/"])
def test_a_forward_that_cannot_be_is_refused_at_the_start(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingError, match="ATRIUM_AUDIT_FORWARD"):
        read_environment({"ATRIUM_HOME": str(tmp_path), "ATRIUM_AUDIT_FORWARD": value})


def test_a_forward_is_the_output_or_a_file(tmp_path: Path) -> None:
    for value, held in (
        ("stdout", "stdout"),
        (f"file://{tmp_path}/a.jsonl", f"{tmp_path}/a.jsonl"),
        ("", ""),
    ):
        found = read_environment({"ATRIUM_HOME": str(tmp_path), "ATRIUM_AUDIT_FORWARD": value})
        assert found.audit_forward == held
