"""Which processes make the full profile, with which environment, at which addresses. Starts nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local_services.environment import parse_environment
from local_services.failures import ServiceFailed
from local_services.ports import choose, is_free
from local_services.processes import Launch

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "deploy" / "production" / "nginx.conf"
GATEWAY_PORT = 18201
CONTROL_PORT = 18251
NEEDED = (
    "ATRIUM_DATABASE_URL",
    "ATRIUM_REDIS_URL",
    "ATRIUM_WEAVIATE_URL",
    "ATRIUM_SECRET_KEY",
    "ATRIUM_KEYRING",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything listens and what every process is told."""

    host: str
    port: int
    gateways: tuple[str, ...]
    control: str
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """The front's address."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Part:
    """One process to keep running.

    It is ready when the address `health` answers 200, or when `says` stands in its log.
    """

    name: str
    launch: Launch
    health: str = ""
    says: str = ""


def _number(variables: Mapping[str, str], name: str, default: int, high: int) -> int:
    text = variables.get(name, "").strip() or str(default)
    if not text.isdigit() or not 1 <= int(text) <= high:
        raise ServiceFailed(f"{name}={text!r}: expected a whole number from 1 to {high}")
    return int(text)


def read_variables(variables: Mapping[str, str], environment_file: Path) -> dict[str, str]:
    """The caller's variables over those of the services. Raises ServiceFailed when the services are not there."""
    told = (
        parse_environment(environment_file.read_text(encoding="utf-8")) if environment_file.exists() else {}
    )
    merged = {**told, **variables}
    missing = [name for name in NEEDED if not merged.get(name)]
    if missing:
        raise ServiceFailed(
            f"{', '.join(missing)} not set and not in {environment_file}: run `make services` first"
        )
    return merged


def make_plan(variables: Mapping[str, str], home: Path, free: Callable[[int], bool] = is_free) -> Plan:
    """Ports and environment. Raises ServiceFailed for a wrong value or when the front's port is taken."""
    merged = read_variables(variables, home / "services" / "environment")
    host, port = merged.get("HOST") or "127.0.0.1", _number(merged, "PORT", 8000, 65535)
    if not free(port):
        raise ServiceFailed(f"PORT={port} is taken by another program")
    taken = {port}
    gateways = []
    for number in range(_number(merged, "WORKERS", 2, 32)):
        own = choose([GATEWAY_PORT + number], taken, free)
        taken.add(own)
        gateways.append(f"127.0.0.1:{own}")
    control = choose([CONTROL_PORT], taken, free)
    environment = {
        **merged,
        "ATRIUM_HOME": str(home),
        "HOST": host,
        "PORT": str(port),
        "WORKERS": str(len(gateways)),
        "ATRIUM_TRUSTED_PROXIES": merged.get("ATRIUM_TRUSTED_PROXIES") or "127.0.0.1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{merged.get('PATH', os.defpath)}",
    }
    return Plan(host, port, tuple(gateways), f"127.0.0.1:{control}", environment)


def _server(plan: Plan, name: str, role: str, address: str) -> Part:
    argv = [
        sys.executable,
        "-m",
        "gunicorn",
        "config.asgi:application",
        "--worker-class",
        "config.server.AtriumWorker",
    ]
    argv += [
        "--workers",
        "1",
        "--bind",
        address,
        "--graceful-timeout",
        "6",
        "--timeout",
        "60",
        "--keep-alive",
        "75",
    ]
    argv += ["--no-control-socket", "--name", name]
    environment = {**plan.environment, "ATRIUM_ROLE": role}
    return Part(name, Launch(argv, environment, directory=ROOT), f"http://{address}/health/ready")


def _celery(plan: Plan, name: str, says: str, *arguments: str) -> Part:
    argv = [sys.executable, "-m", "celery", "-A", "config", *arguments]
    launch = Launch(argv, {**plan.environment, "ATRIUM_ROLE": "worker"}, directory=ROOT)
    return Part(name, launch, says=says)


def parts(plan: Plan, folder: Path) -> list[Part]:
    """All processes but the front."""
    servers = [_server(plan, f"gateway-{n}", "gateway", at) for n, at in enumerate(plan.gateways, start=1)]
    servers.append(_server(plan, "control", "control", plan.control))
    worker = _celery(
        plan, "worker", " ready.", "worker", "--loglevel=INFO", "--concurrency=2", "--without-mingle"
    )
    beat = _celery(
        plan,
        "beat",
        "Starting",
        "beat",
        "--loglevel=INFO",
        f"--schedule={folder / 'beat-schedule'}",
        "--pidfile=",
    )
    return [*servers, worker, beat]


def render_front(plan: Plan, folder: Path, template: str, *, as_root: bool) -> str:
    """nginx's configuration."""
    values = {
        # As root its worker would become another account, which could not enter a closed home.
        "user": "user root;" if as_root else "",
        "folder": str(folder),
        "listen": f"{plan.host}:{plan.port}",
        "control": plan.control,
        "gateways": "\n".join(
            f"        server {address} max_fails=1 fail_timeout=2s;" for address in plan.gateways
        ),
    }
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def front(plan: Plan, folder: Path, nginx: str) -> Part:
    """The front, its configuration written into `folder`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = folder / "nginx.conf"
    text = render_front(plan, folder, TEMPLATE.read_text(encoding="utf-8"), as_root=os.geteuid() == 0)
    configuration.write_text(text, encoding="utf-8")
    launch = Launch(
        [nginx, "-c", str(configuration), "-e", "stderr", "-p", str(folder)],
        plan.environment,
        directory=folder,
        stop_signal=signal.SIGQUIT,
    )
    return Part("front", launch, f"{plan.url}/health/ready")
