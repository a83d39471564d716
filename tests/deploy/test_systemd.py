"""systemd's units: understood by systemd, hardened, and with the right patience."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
# systemd's own measure of what a compromised process could still do: 10 is everything.
EXPOSURE = 2.5
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as on a machine where Atrium's programs are there."""
    for path in UNITS.iterdir():
        text = re.sub(r"/opt/atrium/\.venv/bin/\w+", "/bin/true", path.read_text())
        text = re.sub(r"^(WorkingDirectory|EnvironmentFile)=.*\n", "", text, flags=re.MULTILINE)
        (tmp_path / path.name.replace("@.", "@8201.")).write_text(text)
    return tmp_path


@needs_systemd
def test_systemd_understands_every_unit(installed: Path) -> None:
    units = sorted(map(str, installed.iterdir()))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60
    )

    ours = [line for line in done.stderr.splitlines() if "atrium" in line]
    assert ours == []


@needs_systemd
def test_a_wrong_setting_would_be_found(installed: Path) -> None:
    unit = installed / "atrium-beat.service"
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nRestartSecs=2"))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )

    assert "RestartSecs" in done.stderr


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(installed: Path, name: str) -> None:
    unit = installed / name.replace("@.", "@8201.")

    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={EXPOSURE * 10:.0f}",
            str(unit),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_a_file_and_state_has_one_place(name: str) -> None:
    own = settings(name)

    assert own["EnvironmentFile"] == ["/etc/atrium/environment"]
    assert own["StateDirectory"] == ["atrium"]
    assert "ATRIUM_HOME=/var/lib/atrium" in own["Environment"]
    assert not [value for value in own["Environment"] if re.search("KEY|TOKEN|PASSWORD|URL", value)]
    assert own["User"] == ["atrium"]
    assert own["StandardError"] == ["journal"]


@pytest.mark.parametrize("name", ["atrium-gateway@.service", "atrium-control.service"])
def test_servers_may_drain(name: str) -> None:
    own = settings(name)
    drain = int(next(v for v in own["Environment"] if v.startswith("ATRIUM_DRAIN=")).partition("=")[2])
    (graceful,) = re.findall(r"--graceful-timeout (\d+)", own["ExecStart"][0])

    assert drain < int(graceful) < int(own["TimeoutStopSec"][0])


def test_every_role_has_its_unit() -> None:
    roles = {
        name: value.partition("=")[2]
        for name in SERVICES
        for value in settings(name)["Environment"]
        if value.startswith("ATRIUM_ROLE=")
    }
    assert roles == {
        "atrium-beat.service": "worker",
        "atrium-control.service": "control",
        "atrium-gateway@.service": "gateway",
        "atrium-prepare.service": "control",
        "atrium-worker.service": "worker",
    }
    # Refused processes are not started for ever, and nothing migrates in silence but the service that is all in one.
    assert settings("atrium-prepare.service")["Type"] == ["oneshot"]
    assert "Restart" not in settings("atrium-prepare.service")
