"""Compose for the full profile: valid, whole, without a password, and closed but for its front."""

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.deploy_tools import schema
from jsonschema import Draft7Validator

from config.settings.environment import read_environment
from config.settings.origins import VARIABLES

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = DEPLOY / "compose"
ATRIUM = {"prepare", "gateway", "control", "worker", "beat"}
STORES = {"postgres", "redis", "redis-cache", "weaviate"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return loaded


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    shutil.copy(COMPOSE / "make-secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run([tmp_path / "make-secrets.sh"], check=True, capture_output=True, timeout=30)
    return tmp_path / "secrets"


def test_it_is_valid_for_compose(compose: dict[str, Any]) -> None:
    rules = json.loads(schema("compose-spec.json").read_text())

    errors = [error.message for error in Draft7Validator(rules).iter_errors(compose)]
    assert errors == []
    assert list(Draft7Validator(rules).iter_errors({**compose, "service": {}}))


def test_every_part_of_the_full_profile_is_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == ATRIUM | STORES | {"front"}
    commands = {name: compose["services"][name]["command"] for name in ATRIUM}
    assert commands == {name: [name] for name in ATRIUM}


def test_only_the_front_has_a_port(compose: dict[str, Any]) -> None:
    assert {name for name, each in compose["services"].items() if each.get("ports")} == {"front"}
    assert compose["services"]["front"]["ports"] == ["${HOST:-127.0.0.1}:${PORT:-8000}:8080"]
    assert compose["networks"]["inside"]["internal"] is True
    assert all(compose["services"][name]["networks"] == ["inside"] for name in STORES)


def test_everything_is_watched_and_started_again(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        assert each["restart"] in ("unless-stopped", "on-failure:3"), name
        assert "no-new-privileges:true" in each["security_opt"], name
        assert each["logging"]["options"]["max-size"], name
        if name != "prepare":
            assert each["healthcheck"]["test"], name


def test_nothing_starts_before_the_schema_is_there(compose: dict[str, Any]) -> None:
    for name in ATRIUM - {"prepare"}:
        waits = compose["services"][name]["depends_on"]
        assert waits["prepare"] == {"condition": "service_completed_successfully"}
        assert waits["postgres"] == {"condition": "service_healthy"}


def test_the_drain_is_shorter_than_the_patience(compose: dict[str, Any]) -> None:
    for name in ("gateway", "control"):
        each = compose["services"][name]
        assert int(each["stop_grace_period"].removesuffix("s")) > int(each["environment"]["ATRIUM_DRAIN"]) + 5


def test_what_is_mounted_is_declared(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        assert {*each.get("secrets", [])} <= set(compose["secrets"]), name
        assert {*each["networks"]} <= set(compose["networks"]), name
        for volume in each.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (COMPOSE / source).exists(), (name, source)
    for name in STORES - {"redis-cache"}:
        assert compose["services"][name]["volumes"], name


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    for name, each in compose["services"].items():
        tag = each["image"].rpartition(":")[2]
        assert tag not in ("latest", "")
        assert re.search(r"\d", tag), name


def test_no_password_is_written_down(compose: dict[str, Any]) -> None:
    text = (COMPOSE / "compose.yaml").read_text()

    for name, each in compose["services"].items():
        for variable, value in each.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|KEYRING|TOKEN|_KEY$|ALLOWED_KEYS", variable)
            assert not secret or str(value).startswith("/run/secrets/"), (name, variable)
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    assert "/secrets/" in (COMPOSE / ".gitignore").read_text()


def test_secrets_are_made_once_and_kept_closed(secrets: Path, compose: dict[str, Any]) -> None:
    made = {path.name: path.read_text() for path in secrets.iterdir()}

    assert set(made) == set(compose["secrets"])
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert all(len(value) >= 32 for value in made.values())
    assert len(set(made.values())) == len(made)
    subprocess.run([secrets.parent / "make-secrets.sh"], check=True, capture_output=True, timeout=30)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == made


def test_atrium_reads_what_the_secrets_say(compose: dict[str, Any], secrets: Path, tmp_path: Path) -> None:
    for name in ATRIUM:
        told = compose["services"][name]["environment"]
        plain = {variable.removesuffix("_FILE") for variable in told}
        assert plain <= set(VARIABLES), name
        variables = {
            variable.removesuffix("_FILE"): (secrets / Path(value).name).read_text()
            if variable.endswith("_FILE")
            else re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
            for variable, value in told.items()
        }
        read = read_environment({**variables, "ATRIUM_HOME": str(tmp_path), "ATRIUM_ROLE": "gateway"})
        assert read.profile == "full"
        assert read.storage_url == "file:///srv/atrium/files"
    assert read.trusted_proxies == (compose["networks"]["outside"]["ipam"]["config"][0]["subnet"],)


@pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="nginx is not installed")
def test_nginx_accepts_the_front(tmp_path: Path) -> None:
    text = (COMPOSE / "nginx.conf").read_text()
    # The distribution's nginx is older than the image's, and the names are the network's.
    text = text.replace(" resolve max_fails", " max_fails").replace("/tmp/", f"{tmp_path}/")
    text = re.sub(r"server (gateway|control):8000", "server 127.0.0.1:8000", text)
    (tmp_path / "nginx.conf").write_text(text)
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert nginx is not None

    done = subprocess.run(
        [nginx, "-t", "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


class TestEntrypoint:
    """The image's entrypoint, with programs that say how they were called."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Any:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("gunicorn", "celery", "python"):
            (programs / name).write_text(f'#!/bin/sh\necho "{name} $*"\nenv | sort\n')
            (programs / name).chmod(0o755)
        image = tmp_path / "image"
        (image / "web" / ".vite").mkdir(parents=True)
        (image / "staticfiles.json").write_text("{}")
        (image / "web" / ".vite" / "manifest.json").write_text("1")

        def started(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                ["/bin/sh", str(DEPLOY / "container" / "entrypoint.sh"), *words],
                env={
                    "PATH": f"{programs}:{os.environ['PATH']}",
                    "ATRIUM_HOME": str(tmp_path / "home"),
                    "ATRIUM_STATIC_IMAGE": str(image),
                    **variables,
                },
                capture_output=True,
                text=True,
                timeout=20,
            )

        return started

    def test_secrets_come_from_files(self, run: Any, tmp_path: Path) -> None:
        (tmp_path / "url").write_text("postgres://a:p$w'd@h/n\n")

        said = run("worker", ATRIUM_DATABASE_URL_FILE=str(tmp_path / "url")).stdout

        assert "\nATRIUM_DATABASE_URL=postgres://a:p$w'd@h/n\n" in said
        assert "_FILE" not in said

    def test_a_file_that_cannot_be_read_is_named(self, run: Any) -> None:
        done = run("worker", ATRIUM_KEYRING_FILE="/nowhere/keyring")

        assert done.returncode == 1
        assert done.stderr == "atrium: ATRIUM_KEYRING_FILE: /nowhere/keyring cannot be read\n"

    def test_servers_drain_and_bring_their_static_files(self, run: Any, tmp_path: Path) -> None:
        said = run("gateway", ATRIUM_DRAIN="120", HOST="0.0.0.0", PORT="8000").stdout

        assert said.startswith("gunicorn config.asgi:application --worker-class config.server.AtriumWorker")
        assert "--bind 0.0.0.0:8000" in said
        assert "--graceful-timeout 125" in said
        assert "\nATRIUM_ROLE=gateway\n" in said
        assert (tmp_path / "home" / "static" / "web" / ".vite" / "manifest.json").read_text() == "1"

    def test_a_newer_image_replaces_the_static_files(self, run: Any, tmp_path: Path) -> None:
        run("control")
        (tmp_path / "image" / "web" / ".vite" / "manifest.json").write_text("2")
        run("control")

        assert (tmp_path / "home" / "static" / "web" / ".vite" / "manifest.json").read_text() == "2"

    @pytest.mark.parametrize(
        ("words", "command"),
        [
            (("worker",), "celery -A config worker --loglevel=INFO --concurrency=2 --without-mingle"),
            (("prepare",), "python manage.py prepare --no-demo"),
            (("migrate", "--plan"), "python manage.py migrate --plan"),
            (("create_tenant", "acme", "--name", "Acme"), "python manage.py create_tenant acme --name Acme"),
            ((), "python manage.py serve"),
        ],
        ids=str,
    )
    def test_words_become_processes(self, run: Any, words: tuple[str, ...], command: str) -> None:
        assert run(*words).stdout.splitlines()[0] == command


class TestDockerfile:
    """What can be held without building it."""

    @pytest.fixture
    def lines(self) -> list[str]:
        text = (DEPLOY / "container" / "Dockerfile").read_text().replace("\\\n", " ")
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    def test_every_base_is_pinned(self, lines: list[str]) -> None:
        bases = [line.split()[1] for line in lines if line.startswith("FROM")]
        assert len(bases) == 3
        assert all(re.search(r":\d+\.\d+", base) for base in bases)

    def test_the_last_stage_runs_as_nobody_special_and_downloads_nothing(self, lines: list[str]) -> None:
        last = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM")) :]
        assert "USER 10001:10001" in last
        assert not [line for line in last if re.search(r"\b(pip|uv|npm|curl|wget|apt-get)\b", line)]
        assert [line for line in last if line.startswith("ENTRYPOINT [")]

    def test_installs_are_locked(self, lines: list[str]) -> None:
        synced = [line for line in lines if "uv sync" in line]
        assert synced
        assert all("--locked" in line and "--no-dev" in line for line in synced)
        assert [line for line in lines if "npm ci" in line]

    def test_what_is_copied_is_there_and_let_in(self, lines: list[str]) -> None:
        root = DEPLOY.parent
        let_in = {
            line[1:].rstrip("/")
            for line in (root / ".dockerignore").read_text().splitlines()
            if line[:1] == "!"
        }
        for line in lines:
            words = [word for word in line.split()[1:-1] if not word.startswith("--")]
            if line.startswith("COPY") and "--from" not in line:
                for source in words:
                    assert (root / source).exists(), source
                    assert any(
                        source.rstrip("/") == each or source.startswith(f"{each}/") for each in let_in
                    ), source

    def test_every_package_of_the_wheel_is_in_it(self, lines: list[str]) -> None:
        copied = {
            word.rstrip("/") for line in lines if line.startswith("COPY") for word in line.split()[1:-1]
        }
        assert {
            "platform",
            "assistants",
            "inference",
            "knowledge",
            "routing",
            "tenants",
            "templates",
        } <= copied
