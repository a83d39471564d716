"""The drill in the embedded profile: a live server is backed up while it writes, and comes back in an empty home."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.drill import Place, check, figures, fill, golden, manifest_of, members, writing
from fakes.live_server import ROOT, LiveServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600), pytest.mark.xdist_group("drill")]


def place_of(server: LiveServer) -> Place:
    """The drill's view of a server."""
    return Place(server.url, server.manage, server.run_code)


@pytest.fixture
def first(tmp_path: Path) -> Iterator[LiveServer]:
    """The server that is backed up."""
    server = LiveServer(tmp_path / "first")
    server.start("--no-demo")
    yield server
    server.stop()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[LiveServer]:
    """An empty home, not started yet."""
    server = LiveServer(tmp_path / "second")
    yield server
    server.stop()


def test_a_backup_under_load_comes_back_in_an_empty_installation(
    first: LiveServer, second: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = place_of(first)
    fill(old)
    before = golden(old)
    backup, keyring = tmp_path / "backup.zip", tmp_path / "keyring"
    with writing(old) as written:
        taken = first.manage("backup", str(backup), "--keyring", str(keyring))
        meanwhile = written[0]
    assert taken["rows"] > 100
    first.stop()

    restored = second.manage("restore", str(backup), "--keyring", str(keyring))
    assert restored["keyring"] == "given"
    assert restored["files"] == taken["files"] == manifest_of(backup)["files"]
    assert restored["rows"] == taken["rows"]
    again = tmp_path / "again.zip"
    second.manage("backup", str(again))
    assert members(again) == members(backup)

    second.start()
    assert not (second.home / "first-run.json").exists()
    check(old, place_of(second), before)
    with capsys.disabled():
        print("\n" + figures("embedded", taken, restored, meanwhile))  # noqa: T201 - the figures are for people

    # Over the live one, twice: it notices within two seconds and needs no restart.
    live = place_of(second)
    live.manage("create_tenant", "after", "--name", "After")
    late = live.manage("issue_api_key", "--tenant", "after", "--role", "admin")["key"]
    assert second.request("GET", "/v1/models", key=late)[0] == 200
    second.manage("restore", str(backup))
    began = time.monotonic()
    while second.request("GET", "/v1/models", key=late)[0] != 401:
        assert time.monotonic() - began < 3.0
        time.sleep(0.05)
    second.manage("restore", str(backup))
    check(old, live, before)


def test_a_full_disk_is_one_line_and_leaves_nothing(first: LiveServer, tmp_path: Path) -> None:
    """The shell limits how large a file may become, which is what a full disk looks like to who writes one."""
    target = tmp_path / "backup.zip"
    target.write_bytes(b"the older backup")
    done = subprocess.run(
        ["/bin/bash", "-c", f"trap '' XFSZ; ulimit -f 1; exec {sys.executable} manage.py backup {target}"],
        cwd=ROOT,
        env=first.variables() | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "…" not in line]
    assert said[-1].startswith("CommandError:")
    assert "Traceback" not in done.stderr
    assert target.read_bytes() == b"the older backup"
    assert [name for name in os.listdir(tmp_path) if name.startswith(".backup")] == []
