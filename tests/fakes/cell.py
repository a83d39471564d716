"""A cell of a test's own: the full profile in processes over a PostgreSQL database and a Redis that the test may hurt."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from fakes.live_server import ROOT, free_port
from fakes.postgresql import create_migrated
from fakes.redis_server import RedisServer

START_S = 300.0
SERVE = (
    "import sys, uvicorn; from config.server import SERVER_OPTIONS;"
    "uvicorn.run('config.asgi:application', host='127.0.0.1', port=int(sys.argv[1]), **SERVER_OPTIONS)"
)


@dataclass
class Server:
    """One process of the cell that serves HTTP."""

    role: str
    log: Path
    environment: dict[str, str] = field(repr=False)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether it was started and runs."""
        return self.process is not None and self.process.poll() is None

    def launch(self) -> None:
        """Start it; `wait` says when it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(self.port)],
                cwd=ROOT,
                env={**self.environment, "ATRIUM_ROLE": self.role},
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Return when it is ready."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.alive, self.log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(f"{self.role} was not ready:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """As a crash would: nothing of it runs any further."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def metric(self, name: str) -> float:
        """The sum of a series as it tells it."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name
        )


@dataclass
class Cell:
    """Gateways, a control plane that drains usage, their database and their Redis."""

    name: str
    redis: RedisServer
    environment: dict[str, str] = field(repr=False)
    gateways: list[Server] = field(default_factory=list)
    control: Server | None = None

    def manage(self, *words: str) -> Any:
        """Run a management command with `--json`; the answer parsed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words, "--json"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout.strip().splitlines()[-1])

    def new_tenant(self, *limits: str) -> str:
        """The key of an admin of a fresh tenant with limits as `set_quota` takes them."""
        slug = f"t{uuid.uuid4().hex[:12]}"
        self.manage("create_tenant", slug, "--name", slug)
        key: str = self.manage("issue_api_key", "--tenant", slug, "--name", "tests", "--role", "admin")["key"]
        if limits:
            self.manage("set_quota", "--tenant", slug, *limits)
        return key

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the database's owner sees, past all walls."""
        with psycopg.connect(_administrator(self.name), autocommit=True) as login:
            return login.execute(sql, parameters).fetchall()

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Nobody reaches the database, and whoever was connected is not any more."""
        with psycopg.connect(_administrator("postgres"), autocommit=True) as login:
            login.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false")
            login.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name]
            )
            try:
                yield
            finally:
                login.execute(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")


def _administrator(database: str) -> str:
    parts = urlsplit(os.environ["ATRIUM_TEST_POSTGRES_SUPERUSER_URL"])
    return parts._replace(path=f"/{database}").geturl()


@contextmanager
def running_cell(folder: Path, *, gateways: int) -> Iterator[Cell]:
    """A cell for the block; what it made is gone afterwards."""
    name = f"atrium_cell_{uuid.uuid4().hex[:10]}"
    login_url = urlsplit(os.environ["ATRIUM_DATABASE_URL"])
    redis = RedisServer(folder)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ATRIUM_", "WORKERS"))}
    with psycopg.connect(login_url.geturl(), autocommit=True) as login:
        create_migrated(login, name)
        made: Cell | None = None
        try:
            redis.start()
            weaviate = {key: value for key, value in os.environ.items() if key.startswith("ATRIUM_WEAVIATE_")}
            environment = {
                **kept,
                **weaviate,
                "ATRIUM_HOME": str(folder / "home"),
                "ATRIUM_DATABASE_URL": login_url._replace(path=f"/{name}").geturl(),
                "ATRIUM_REDIS_URL": redis.url,
                "ATRIUM_KEYRING": os.environ["ATRIUM_KEYRING"],
                "ATRIUM_SECRET_KEY": os.environ["ATRIUM_SECRET_KEY"],
                "PROMETHEUS_MULTIPROC_DIR": str(folder / "series"),
            }
            (folder / "series").mkdir()
            made = Cell(name, redis, environment)
            _start(made, folder, gateways)
            yield made
        finally:
            for server in [
                *(made.gateways if made else ()),
                *([made.control] if made and made.control else ()),
            ]:
                server.kill()
            redis.stop()
            login.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _start(cell: Cell, folder: Path, gateways: int) -> None:
    prepared = subprocess.run(
        [sys.executable, "manage.py", "prepare", "--no-demo"],
        cwd=ROOT,
        env=cell.environment,
        capture_output=True,
        text=True,
    )
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    cell.control = Server("control", folder / "control.log", cell.environment)
    # A metrics folder of each gateway's own: what one tells is its own.
    for number in range(gateways):
        series = folder / f"series-{number}"
        series.mkdir()
        environment = {**cell.environment, "PROMETHEUS_MULTIPROC_DIR": str(series)}
        cell.gateways.append(Server("gateway", folder / f"gateway-{number}.log", environment))
    servers = [*cell.gateways, cell.control]
    for server in servers:
        server.launch()
    for server in servers:
        server.wait()
