"""What is remembered between two commands: ports, passwords, and who was started.

One JSON file of mode 0600, replaced as a whole, so that a reader or a crash never meets half a file.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_services.processes import Identity

VERSION = 1


@dataclass(slots=True)
class ServiceRecord:
    """One service: its ports by name, the process that was last started, how to stop it, and its version."""

    ports: dict[str, int] = field(default_factory=dict)
    identity: Identity | None = None
    version: str = ""
    stop_signal: int = 15
    stop_seconds: float = 20.0


@dataclass(slots=True)
class State:
    """All services of one home, and the passwords made for them."""

    services: dict[str, ServiceRecord] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


def encode(state: State) -> str:
    """The state as JSON text."""
    services = {
        name: {
            "ports": record.ports,
            "pid": record.identity.pid if record.identity else None,
            "started_ticks": record.identity.started_ticks if record.identity else None,
            "boot_id": record.identity.boot_id if record.identity else None,
            "version": record.version,
            "stop_signal": record.stop_signal,
            "stop_seconds": record.stop_seconds,
        }
        for name, record in sorted(state.services.items())
    }
    return json.dumps({"format": VERSION, "services": services, "secrets": state.secrets}, indent=1) + "\n"


def decode(text: str) -> State:
    """The state from JSON text. Raises ValueError for another format."""
    raw: dict[str, Any] = json.loads(text)
    if raw.get("format") != VERSION:
        raise ValueError(f"state format {raw.get('format')!r}, expected {VERSION}")
    state = State(secrets=dict(raw["secrets"]))
    for name, entry in raw["services"].items():
        identity = None
        if entry["pid"] is not None:
            identity = Identity(int(entry["pid"]), int(entry["started_ticks"]), str(entry["boot_id"]))
        state.services[name] = ServiceRecord(
            ports={key: int(port) for key, port in entry["ports"].items()},
            identity=identity,
            version=str(entry["version"]),
            stop_signal=int(entry["stop_signal"]),
            stop_seconds=float(entry["stop_seconds"]),
        )
    return state


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` with mode 0600, all or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


class StateFile:
    """The state of one home, shared by the threads that start its services."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self.state = decode(path.read_text(encoding="utf-8")) if path.exists() else State()

    def record(self, name: str) -> ServiceRecord:
        """The record of a service, made empty on first sight."""
        with self._lock:
            return self.state.services.setdefault(name, ServiceRecord())

    def secret(self, name: str) -> str:
        """A password, made on first use: letters and digits only, so it needs no quoting anywhere."""
        with self._lock:
            if name not in self.state.secrets:
                self.state.secrets[name] = secrets.token_hex(16)
                self.save()
            return self.state.secrets[name]

    def save(self) -> None:
        """Write the state down."""
        with self._lock:
            write_private(self._path, encode(self.state))
