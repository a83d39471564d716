"""PostgreSQL: a cluster of our own, on loopback TCP with passwords, durable.

PostgreSQL refuses to run as root, and the home may lie below a folder that its account cannot enter
(/root, a `mktemp -d`). So the data folder is opened first and handed down; the server, by then under the
account `postgres`, is told that its data is in /proc/self/fd/N, which leads there without passing the closed
folders above.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_services.failures import ServiceFailed
from local_services.processes import Launch, identify, living_in, popen
from local_services.service import Place, plain_environment

ACCOUNT = "postgres"
_DEBIAN = Path("/usr/lib/postgresql")
_INITDB_S = 300
_ANSWER_S = 30

_SETTLE = """
SELECT format('CREATE ROLE %I LOGIN', 'atrium')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'atrium') \\gexec
ALTER ROLE atrium LOGIN NOSUPERUSER NOBYPASSRLS NOREPLICATION CREATEROLE CREATEDB PASSWORD :'password';
SELECT 'ALTER ROLE atrium SET createrole_self_grant = ''set, inherit'''
 WHERE current_setting('server_version_num')::int >= 160000 \\gexec
SELECT format('CREATE DATABASE %I OWNER atrium', wanted)
  FROM unnest(ARRAY['atrium', 'atrium_test']) AS wanted
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = wanted) \\gexec
"""


def find_program(name: str) -> Path | None:
    """A PostgreSQL program: of the newest version the distribution has, else of PATH."""
    versions = [
        entry for entry in _DEBIAN.glob("*") if entry.name.isdigit() and (entry / "bin" / name).exists()
    ]
    if versions:
        return max(versions, key=lambda entry: int(entry.name)) / "bin" / name
    found = shutil.which(name)
    return Path(found).resolve() if found else None


def is_installed() -> bool:
    """Whether server and client are on this machine."""
    return all(find_program(name) for name in ("postgres", "initdb", "psql"))


def _program(name: str) -> str:
    path = find_program(name)
    if path is None:
        raise ServiceFailed(f"the program {name} is missing")
    return str(path)


def _account() -> str | None:
    """The account to become: none when we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise ServiceFailed(f"PostgreSQL refuses to run as root and there is no account {ACCOUNT}") from None
    return ACCOUNT


@dataclass(frozen=True, slots=True)
class Postgres:
    """The database server."""

    name: str = "postgres"
    group: str = "postgres"
    ready_seconds: float = 60.0

    @property
    def usual_ports(self) -> Mapping[str, int]:
        """Not 5432, which is the distribution's own cluster's."""
        return {"main": 15432}

    def install(self, place: Place) -> None:
        """Make the cluster, in a folder that gets its name only when it is whole."""
        parent, account = place.folder("postgres"), _account()
        data, unfinished = parent / "data", parent / "unfinished"
        if data.exists():
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = parent / "password"
        password_file.write_text(place.state.secret("postgres"), encoding="ascii")
        password_file.chmod(0o600)
        if account:
            for path in (parent, unfinished, password_file):
                shutil.chown(path, account, account)
        with place.progress.step(self.name, "initdb"):
            self._initdb(place, unfinished, account)
        password_file.unlink()
        unfinished.rename(data)

    def _initdb(self, place: Place, folder: Path, account: str | None) -> None:
        argv = [_program("initdb"), "-D", "{folder}", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
        argv += [
            "--data-checksums",
            "--auth=scram-sha-256",
            "--pwfile={folder}/../password",
            "--no-instructions",
        ]
        launch = Launch(
            argv, plain_environment(place, LC_ALL="C.UTF-8"), Path("/"), account=account, open_folder=folder
        )
        with place.log(self.name).open("ab") as log:
            process = popen(launch, log)
            try:
                code = process.wait(_INITDB_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise ServiceFailed(f"initdb did not end within {_INITDB_S} s") from None
        if code != 0:
            raise ServiceFailed(f"initdb failed with code {code}")

    def launch(self, place: Place) -> Launch:
        """In the foreground of its own session; SIGINT is its fast, clean shutdown."""
        self._clear_away(place.folder("postgres") / "data")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(place.port(self.name)),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on",
            "password_encryption": "scram-sha-256",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        argv = [_program("postgres"), "-D", "{folder}"]
        for key, value in settings.items():
            argv += ["-c", f"{key}={value}"]
        return Launch(
            argv=argv,
            environment=plain_environment(place, LC_ALL="C.UTF-8"),
            directory=Path("/"),
            account=_account(),
            open_folder=place.folder("postgres") / "data",
            stop_signal=signal.SIGINT,
            stop_seconds=30.0,
        )

    def _clear_away(self, data: Path) -> None:
        """After a crash: wait for the old server's children, and take away its lock if only a zombie holds it.

        Where process 1 does not collect the dead, PostgreSQL would believe for ever that the old server runs.
        """
        deadline = time.monotonic() + 10.0
        while living_in(data):
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"process {living_in(data)[0]} works in {data} and is not ours; end it first"
                )
            time.sleep(0.1)
        lock = data / "postmaster.pid"
        if lock.exists():
            pid = int(lock.read_text(encoding="ascii").split("\n", 1)[0])
            if identify(pid) is None:
                lock.unlink()

    def _psql(self, place: Place, sql: str, *variables: str) -> subprocess.CompletedProcess[str]:
        argv = [_program("psql"), "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", str(place.port(self.name))]
        argv += ["-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1"]
        for variable in variables:
            argv += ["-v", variable]
        environment = plain_environment(
            place, PGPASSWORD=place.state.secret("postgres"), PGCONNECT_TIMEOUT="5"
        )
        try:
            return subprocess.run(
                argv,
                input=sql,
                capture_output=True,
                text=True,
                env=environment,
                check=False,
                timeout=_ANSWER_S,
            )
        except subprocess.TimeoutExpired:
            # A server that takes connections and answers nothing: the caller decides how long it asks again.
            return subprocess.CompletedProcess(argv, 1, "", f"no answer within {_ANSWER_S} s")

    def probe(self, place: Place) -> str | None:
        """It answers a query with a password."""
        answer = self._psql(place, "SHOW server_version")
        return answer.stdout.split()[0] if answer.returncode == 0 and answer.stdout.strip() else None

    def settle(self, place: Place) -> None:
        """The login role (no superuser; may make roles and databases) and its two databases."""
        sql = _SETTLE.replace(":'password'", f"'{place.state.secret('atrium')}'")
        answer = self._psql(place, sql)
        if answer.returncode != 0:
            raise ServiceFailed(f"making role and databases failed: {answer.stderr.strip()}")

    def environment(self, place: Place) -> dict[str, str]:
        """The main database, the one for tests, and the superuser for tests that need one."""
        server = f"127.0.0.1:{place.port(self.name)}"
        owner, superuser = place.state.secret("atrium"), place.state.secret("postgres")
        return {
            "ATRIUM_DATABASE_URL": f"postgres://atrium:{owner}@{server}/atrium",
            "ATRIUM_TEST_DATABASE_URL": f"postgres://atrium:{owner}@{server}/atrium_test",
            "ATRIUM_TEST_POSTGRES_SUPERUSER_URL": f"postgres://postgres:{superuser}@{server}/postgres",
        }

    def addresses(self, place: Place) -> Sequence[str]:
        """Loopback TCP only."""
        return [f"127.0.0.1:{place.port(self.name)}"]
