"""The plan of the full profile: what is started, where, with which environment; and the front's configuration."""

import shutil
import subprocess
from pathlib import Path

import pytest

from local_production.plan import TEMPLATE, Plan, make_plan, parts, render_front
from local_services.environment import write_environment
from local_services.failures import ServiceFailed

SERVICES = {
    "ATRIUM_DATABASE_URL": "postgres://a:b@127.0.0.1:1/c",
    "ATRIUM_REDIS_URL": "redis://127.0.0.1:2/0",
    "ATRIUM_WEAVIATE_URL": "http://127.0.0.1:3",
    "ATRIUM_SECRET_KEY": "k" * 64,
    "ATRIUM_KEYRING": "1:xyz",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "services").mkdir()
    write_environment(tmp_path / "services" / "environment", SERVICES)
    return tmp_path


def _plan(home: Path, **variables: str) -> Plan:
    return make_plan(variables, home, free=lambda port: True)


def test_two_gateways_unless_told_otherwise(home: Path) -> None:
    assert len(_plan(home).gateways) == 2
    assert len(_plan(home, WORKERS="3").gateways) == 3


def test_the_planes_run_apart_with_one_environment(home: Path) -> None:
    made = parts(_plan(home), home)

    roles = {part.name: part.launch.environment["ATRIUM_ROLE"] for part in made}
    assert roles == {
        "gateway-1": "gateway",
        "gateway-2": "gateway",
        "control": "control",
        "worker": "worker",
        "beat": "worker",
    }
    for part in made:
        assert SERVICES.items() <= part.launch.environment.items()
        assert part.launch.environment["ATRIUM_HOME"] == str(home)


def test_the_callers_variables_win(home: Path) -> None:
    assert _plan(home, ATRIUM_SECRET_KEY="mine").environment["ATRIUM_SECRET_KEY"] == "mine"


def test_everything_but_the_front_stays_on_loopback(home: Path) -> None:
    plan = _plan(home, HOST="192.0.2.1", PORT="9000")

    assert plan.url == "http://192.0.2.1:9000"
    assert all(address.startswith("127.0.0.1:") for address in (*plan.gateways, plan.control))


def test_every_process_has_its_own_port_though_the_usual_are_taken(home: Path) -> None:
    plan = make_plan({"WORKERS": "4"}, home, free=lambda port: port == 8000 or port > 20_100)

    addresses = [*plan.gateways, plan.control]
    assert len(set(addresses)) == 5
    assert all(int(address.rpartition(":")[2]) > 20_100 for address in addresses)


def test_without_services_it_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match="make services"):
        _plan(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("WORKERS", "0"), ("WORKERS", "many"), ("PORT", "70000")])
def test_a_wrong_number_is_named(home: Path, name: str, value: str) -> None:
    with pytest.raises(ServiceFailed, match=name):
        _plan(home, **{name: value})


def test_a_taken_front_port_is_named(home: Path) -> None:
    with pytest.raises(ServiceFailed, match="PORT=8000 is taken"):
        make_plan({}, home, free=lambda port: False)


def test_the_front_names_every_gateway_and_leaves_nothing_open(home: Path, tmp_path: Path) -> None:
    plan = _plan(home)

    text = render_front(plan, tmp_path, TEMPLATE.read_text(), as_root=False)

    assert "{{" not in text
    assert all(f"server {address} " in text for address in plan.gateways)
    assert f"listen {plan.host}:{plan.port};" in text
    assert "user root" not in text


@pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="nginx is not installed")
def test_nginx_accepts_the_configuration(home: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(render_front(_plan(home), tmp_path, TEMPLATE.read_text(), as_root=False))
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert nginx is not None

    checked = subprocess.run(
        [nginx, "-t", "-c", str(configuration), "-e", "stderr"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
