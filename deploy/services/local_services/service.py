"""What every service is to the command that starts it, and what it may use."""

from __future__ import annotations

import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from local_services.failures import ServiceFailed
from local_services.processes import Launch
from local_services.progress import Progress
from local_services.state import StateFile

# Downloads and builds take minutes; what takes an hour hangs.
LONGEST_S = 3600
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where all of it lives, `$ATRIUM_HOME/services`, with its state, the progress and a lock."""

    root: Path
    state: StateFile
    progress: Progress
    install_lock: threading.Lock = field(default_factory=threading.Lock)

    def folder(self, name: str) -> Path:
        """A folder below the root, made when missing, closed to others."""
        path = self.root / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def log(self, service: str) -> Path:
        """The log of a service."""
        return self.folder("logs") / f"{service}.log"

    def port(self, service: str, name: str = "main") -> int:
        """The port that was allotted to a service."""
        return self.state.record(service).ports[name]


class Service(Protocol):
    """One process to start. Every method may take its time; failures are ServiceFailed."""

    @property
    def name(self) -> str:
        """Its name in the table and the state."""

    @property
    def group(self) -> str:
        """The name `--only` knows it by."""

    @property
    def usual_ports(self) -> Mapping[str, int]:
        """Its ports by name, with the number it takes when that is free."""

    def install(self, place: Place) -> None:
        """Bring programs and data files; nothing to do the second time."""

    def launch(self, place: Place) -> Launch:
        """How to start it now."""

    def probe(self, place: Place) -> str | None:
        """Its version once it answers as it should, None while it does not."""

    def settle(self, place: Place) -> None:
        """What is done after it answers: roles, databases, buckets. Repeatable."""

    def environment(self, place: Place) -> dict[str, str]:
        """The variables that lead to it."""

    def addresses(self, place: Place) -> Sequence[str]:
        """For the table."""

    @property
    def ready_seconds(self) -> float:
        """How long it may take to answer."""


def plain_environment(place: Place, **more: str) -> dict[str, str]:
    """The environment of a service: of the caller's only path, locale, zone and temporary folder."""
    kept = {key: os.environ[key] for key in ("LANG", "LC_ALL", "TMPDIR", "TZ") if key in os.environ}
    path = os.environ.get("PATH", _SYSTEM_PATH)
    return {"PATH": path, "HOME": str(place.folder("home")), **kept, **more}


def run(argv: Sequence[str], *, what: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end with its output in `log`. Raises ServiceFailed with the last lines of it.

    What has not ended after `LONGEST_S` is killed and has failed.
    """
    with log.open("ab") as output:
        output.write(f"--- start {' '.join(argv)} ---\n".encode())
        output.flush()
        begin = output.tell()
        try:
            code = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment) if environment is not None else None,
                check=False,
                timeout=LONGEST_S,
            ).returncode
            how = f"failed with code {code}" if code else ""
        except subprocess.TimeoutExpired:
            how = f"did not end within {LONGEST_S} s"
    if how:
        said = log.read_bytes()[begin:].decode(errors="replace").splitlines()[-15:]
        raise ServiceFailed("\n".join([f"{what} {how} (log: {log})", *said]))


def http_get(url: str, *, key: str | None = None, seconds: float = 5.0) -> bytes | None:
    """The body of a 200 answer, None for anything else. Proxies of the environment are not asked."""
    request = urllib.request.Request(url)  # noqa: S310 - our own loopback addresses only
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    return _http(request, seconds)


def http_send(url: str, body: bytes, *, method: str = "POST", seconds: float = 60.0) -> bytes | None:
    """The body of a 200 answer to a JSON request, None for anything else."""
    request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - as above
    request.add_header("Content-Type", "application/json")
    return _http(request, seconds)


def _http(request: urllib.request.Request, seconds: float) -> bytes | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as answer:
            content: bytes = answer.read()
            return content if answer.status == 200 else None
    except (urllib.error.URLError, OSError, ValueError):
        return None
