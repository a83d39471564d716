"""The four commands: bring programs, start what is missing, stop what was started, say how things stand."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from local_services import postgres, redis, vllm
from local_services.environment import write_environment
from local_services.failures import ServiceFailed
from local_services.packages import ensure_packages
from local_services.ports import choose
from local_services.postgres import Postgres
from local_services.processes import Identity, end, is_alive, log_tail, session_members, spawn
from local_services.progress import Progress
from local_services.s3 import S3
from local_services.service import Place, Service
from local_services.state import StateFile
from local_services.weaviate import Weaviate

ALL: tuple[Service, ...] = (Postgres(), redis.STATE, redis.CACHE, Weaviate(), S3(), *vllm.REPLICAS)
GROUPS = tuple(dict.fromkeys(service.group for service in ALL))


@contextmanager
def open_place(home: Path) -> Iterator[Place]:
    """The services' folder of a home, held alone: a second command waits for the first."""
    root = (home / "services").resolve()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    progress = Progress()
    with (root / "lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("services", "another command is at work on this home, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), False)
        yield Place(root=root, state=StateFile(root / "state.json"), progress=progress)


def _running(place: Place, service: Service) -> bool:
    return is_alive(place.state.record(service.name).identity)


def allot_ports(place: Place, services: Sequence[Service]) -> None:
    """Ports for what is about to start: the last ones if still free, else the usual ones, else any."""
    taken = {port for record in place.state.state.services.values() for port in record.ports.values()}
    for service in services:
        record = place.state.record(service.name)
        for name, usual in service.usual_ports.items():
            last = record.ports.get(name)
            wanted = [usual] if last is None else [last, usual]
            port = choose(wanted, taken - {last} if last else taken)
            if port != usual:
                place.progress.say(service.name, f"{name} port {usual} is taken, using {port}")
            record.ports[name] = port
            taken.add(port)
    place.state.save()


def _await_ready(place: Place, service: Service, child: subprocess.Popen[bytes] | None) -> str:
    """Its version once it answers. Raises ServiceFailed when it ends or takes too long."""
    deadline = time.monotonic() + service.ready_seconds
    while True:
        version = service.probe(place)
        if version:
            return version
        if child is not None and child.poll() is not None:
            raise ServiceFailed(f"ended with code {child.returncode} before it was ready")
        if child is None and not _running(place, service):
            raise ServiceFailed("ended before it was ready")
        if time.monotonic() > deadline:
            raise ServiceFailed(f"not ready after {service.ready_seconds:.0f} s")
        time.sleep(0.2)


def _launch(place: Place, service: Service) -> subprocess.Popen[bytes]:
    record = place.state.record(service.name)
    if record.identity is not None and session_members(record.identity):
        place.progress.say(service.name, "its leader is gone, ending what it left behind")
        end(record.identity, stop_signal=record.stop_signal, seconds=1.0)
    service.install(place)
    launch = service.launch(place)
    child, record.identity = spawn(launch, place.log(service.name))
    record.stop_signal, record.stop_seconds = launch.stop_signal, launch.stop_seconds
    place.state.save()
    return child


def start_one(place: Place, service: Service) -> str | None:
    """Start one service and see it answer; None when all is well, else what went wrong."""
    record = place.state.record(service.name)
    already = _running(place, service)
    try:
        child = None if already else _launch(place, service)
        if child is None:
            record.version = _await_ready(place, service, None)
        else:
            pid = child.pid
            with place.progress.step(service.name, f"starting as pid {pid}"):
                record.version = _await_ready(place, service, child)
        service.settle(place)
    except (ServiceFailed, OSError) as failure:
        place.progress.say(service.name, "FAILED")
        if not already and record.identity is not None:
            end(record.identity, stop_signal=record.stop_signal, seconds=2.0)
        return f"{failure}\n{log_tail(place.log(service.name))}"
    finally:
        place.state.save()
    place.progress.say(service.name, "was running already" if already else "ready")
    return None


def merged_environment(place: Place) -> dict[str, str]:
    """The variables of everything that runs; those of several replicas are joined by commas."""
    values: dict[str, str] = {}
    for service in ALL:
        record = place.state.record(service.name)
        if not is_alive(record.identity) or record.identity is None:
            continue
        own = service.environment(place)
        prefix = f"ATRIUM_TEST_{service.name.upper().replace('-', '_')}"
        own[f"{prefix}_PID"] = str(record.identity.pid)
        own[f"{prefix}_VERSION"] = record.version
        if service.group == "vllm":
            own["ATRIUM_TEST_VLLM_PIDS"] = str(record.identity.pid)
        for key, value in own.items():
            joined = key in {"ATRIUM_TEST_VLLM_URLS", "ATRIUM_TEST_VLLM_PIDS"} and key in values
            values[key] = f"{values[key]},{value}" if joined else value
    if values:
        values["ATRIUM_STORAGE_URL"] = place.folder("blobs").as_uri()
        # Every process and command of the full profile must have the same two; here they are made for it.
        values["ATRIUM_SECRET_KEY"] = place.state.secret("secret-key") + place.state.secret("secret-key-more")
        keyring = base64.b64encode(
            bytes.fromhex(place.state.secret("keyring-1") + place.state.secret("keyring-2"))
        )
        values["ATRIUM_KEYRING"] = f"1:{keyring.decode()}"
    return values


def table(place: Place) -> str:
    """Name, version, pid, state, addresses, log: one line per service."""
    rows = [("service", "version", "pid", "state", "addresses")]
    for service in ALL:
        record = place.state.record(service.name)
        alive = is_alive(record.identity)
        pid = str(record.identity.pid) if alive and record.identity else "-"
        addresses = "  ".join(service.addresses(place)) if alive else "-"
        rows.append((service.name, record.version or "-", pid, "running" if alive else "stopped", addresses))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]
    return "\n".join(lines)


def _needed_packages(services: Sequence[Service]) -> list[tuple[str, bool]]:
    groups = {service.group for service in services}
    return [("postgresql", "postgres" in groups), ("redis-server", "redis" in groups)]


def _bring_packages(place: Place, services: Sequence[Service]) -> bool:
    """Bring the distribution's packages; False, and said why, when they are not to be had."""
    checks = {"postgresql": postgres.is_installed, "redis-server": redis.is_installed}
    try:
        ensure_packages(
            place, [(name, checks[name]) for name, needed in _needed_packages(services) if needed]
        )
    except ServiceFailed as failure:
        print(f"services: {failure}")
        return False
    return True


def install(home: Path, groups: Sequence[str]) -> int:
    """Bring what the services of `groups` are made of, and start none: minutes the first time. 0 when all is there."""
    with open_place(home) as place:
        wanted = [service for service in ALL if service.group in groups]
        if not _bring_packages(place, wanted):
            return 1

        def install_one(service: Service) -> str | None:
            try:
                service.install(place)
            except (ServiceFailed, OSError) as failure:
                return f"{failure}\n{log_tail(place.log(service.name))}"
            return None

        with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
            results = list(zip(wanted, pool.map(install_one, wanted), strict=True))
        for service, why in results:
            if why:
                print(f"\nservices: {service.name} failed: {why}")
        if any(why for _, why in results):
            return 1
        print(f"services: installed in {place.progress.elapsed:.1f} s")
        return 0


def start(home: Path, groups: Sequence[str]) -> int:
    """Start the services of `groups` that do not run. 0 when all of them answer, else 1."""
    with open_place(home) as place:
        wanted = [service for service in ALL if service.group in groups]
        if not _bring_packages(place, wanted):
            return 1
        allot_ports(place, [service for service in wanted if not _running(place, service)])
        with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
            results = list(pool.map(lambda service: (service, start_one(place, service)), wanted))
        environment = place.root / "environment"
        write_environment(environment, merged_environment(place))
        failed = [(service.name, why) for service, why in results if why]
        print(f"\n{table(place)}\n\nenvironment: {environment}\nlogs:        {place.folder('logs')}")
        for name, why in failed:
            print(f"\nservices: {name} failed: {why}")
        if not failed:
            print(f"services: ready in {place.progress.elapsed:.1f} s")
        return 1 if failed else 0


def stop(home: Path, groups: Sequence[str]) -> int:
    """End what was started, and nothing else. 0 when all of it is gone."""
    if not (home / "services" / "state.json").exists():
        print("services: nothing was started here")
        return 0
    with open_place(home) as place:
        wanted = [service for service in ALL if service.group in groups]

        def stop_one(service: Service) -> bool:
            record = place.state.record(service.name)
            if record.identity is None:
                return True
            how = end(record.identity, stop_signal=record.stop_signal, seconds=record.stop_seconds)
            place.progress.say(service.name, f"pid {record.identity.pid} {how}")
            gone = not session_members(record.identity)
            record.identity = None if gone else record.identity
            return gone

        with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
            gone = list(pool.map(stop_one, wanted))
        place.state.save()
        write_environment(place.root / "environment", merged_environment(place))
        return 0 if all(gone) else 1


def _status_row(place: Place, service: Service) -> dict[str, object]:
    record = place.state.record(service.name)
    identity: Identity | None = record.identity
    alive = is_alive(identity)
    answering = alive and service.probe(place) is not None
    return {
        "service": service.name,
        "state": "running" if answering else ("not answering" if alive else "stopped"),
        "pid": identity.pid if alive and identity else None,
        "version": record.version,
        "addresses": list(service.addresses(place)) if alive else [],
    }


def status(home: Path, groups: Sequence[str], *, as_json: bool) -> int:
    """Say how things stand. 0 when every service of `groups` answers."""
    if not (home / "services" / "state.json").exists():
        print("[]" if as_json else "services: nothing was started here")
        return 1
    with open_place(home) as place:
        rows = [_status_row(place, service) for service in ALL if service.group in groups]
        print(json.dumps(rows, indent=1) if as_json else table(place))
        return 0 if all(row["state"] == "running" for row in rows) else 1
