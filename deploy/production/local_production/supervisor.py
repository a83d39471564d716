"""Starts the parts, says when all are ready, starts again what ends, and ends all within ten seconds."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from local_production.plan import ROOT, Part, Plan, front, make_plan, parts
from local_services.failures import ServiceFailed
from local_services.packages import ensure_packages
from local_services.processes import Identity, end, log_tail, spawn
from local_services.progress import Progress
from local_services.service import Place, http_get, run
from local_services.state import StateFile, write_private

READY_SECONDS = 120.0
# With what follows a refusal (see `end`) this stays below ten seconds.
GRACE_SECONDS = 6.0
LONGEST_PAUSE_SECONDS = 30.0
# After this long a part that ends again is treated as one that ran well.
SETTLED_SECONDS = 60.0


class Stopped(BaseException):
    """A signal asked for the end; passes every `except Exception`."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(signal.Signals(number).name)


class Kept:
    """One part and its process, started again when it ends, with growing pauses."""

    def __init__(self, part: Part, place: Place) -> None:
        self.part = part
        self.log = place.log(part.name)
        self._pause = 0.5
        self._started = 0.0
        self._again_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.identity: Identity | None = None

    def start(self) -> None:
        """Start it. Should this supervisor be killed, the kernel asks the part to end."""
        launch, setpriv = self.part.launch, shutil.which("setpriv")
        if setpriv:
            launch = dataclasses.replace(launch, argv=[setpriv, "--pdeathsig", "TERM", *launch.argv])
        self._process, self.identity = spawn(launch, self.log)
        self._started, self._again_at = time.monotonic(), None

    @property
    def exit_code(self) -> int | None:
        """Its exit code once it has ended."""
        return self._process.poll() if self._process else None

    def keep(self, progress: Progress) -> None:
        """Start it again when it has ended and its pause is over."""
        code, now = self.exit_code, time.monotonic()
        if code is None:
            return
        if self._again_at is None:
            if now - self._started > SETTLED_SECONDS:
                self._pause = 0.5
            self._again_at = now + self._pause
            progress.say(self.part.name, f"ended with code {code}; again in {self._pause:.1f} s ({self.log})")
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self.stop(1.0)
        elif now >= self._again_at:
            self.start()

    def is_ready(self) -> bool:
        """Whether it answers, or says so in its log. Raises ServiceFailed when it has ended."""
        if self.exit_code is not None:
            raise ServiceFailed(f"{self.part.name} ended with code {self.exit_code}\n{log_tail(self.log)}")
        if self.part.health:
            return http_get(self.part.health) is not None
        return self.part.says in log_tail(self.log, lines=100)

    def stop(self, seconds: float) -> str:
        """End it and what it started."""
        if self.identity is None:
            return "was not running"
        return end(self.identity, stop_signal=self.part.launch.stop_signal, seconds=seconds)


def prepare(place: Place, plan: Plan) -> None:
    """Migrate as the owner, collect static files, make models and, in an empty database, the demo tenant."""
    environment = {**plan.environment, "ATRIUM_ROLE": "control"}
    log = place.log("prepare")
    with place.progress.step("prepare", "migrating and preparing the database"):
        run(
            [sys.executable, "manage.py", "prepare"],
            what="manage.py prepare",
            log=log,
            environment=environment,
        )


def await_ready(kept: list[Kept], progress: Progress) -> None:
    """Wait until every part answers. Raises ServiceFailed when one ends or all takes too long."""
    deadline, waiting = time.monotonic() + READY_SECONDS, list(kept)
    while waiting:
        for one in list(waiting):
            if one.is_ready():
                waiting.remove(one)
                progress.say(one.part.name, f"ready {one.part.health}")
        if time.monotonic() > deadline:
            names = ", ".join(one.part.name for one in waiting)
            raise ServiceFailed(f"{names} not ready after {READY_SECONDS:.0f} s\n{log_tail(waiting[0].log)}")
        time.sleep(0.2)


def write_addresses(path: Path, plan: Plan, kept: list[Kept]) -> None:
    """Where everything is, for tests and commands: `environment` is what `manage.py` needs besides its own."""
    own = {name: value for name, value in plan.environment.items() if name.startswith("ATRIUM_")}
    told = {
        "url": plan.url,
        "gateways": [f"http://{address}" for address in plan.gateways],
        "control": f"http://{plan.control}",
        "pids": {one.part.name: one.identity.pid for one in kept if one.identity},
        "environment": {
            **own,
            "HOST": plan.host,
            "PORT": str(plan.port),
            "WORKERS": plan.environment["WORKERS"],
        },
    }
    write_private(path, json.dumps(told, indent=1) + "\n")


def stop_all(kept: list[Kept], progress: Progress) -> None:
    """End all at once; further signals wait until it is done, which is less than ten seconds."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if not kept:
        return
    with ThreadPoolExecutor(max_workers=len(kept)) as pool:
        for one, how in zip(kept, pool.map(lambda one: one.stop(GRACE_SECONDS), kept), strict=True):
            progress.say(one.part.name, how)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceFailed(f"another run-production is already running from {folder}") from None
        yield


def supervise(variables: Mapping[str, str], home: Path, progress: Progress) -> None:
    """Run until a signal. Raises ServiceFailed when it cannot start, Stopped when a signal came."""
    folder = home / "production"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    addresses = folder / "addresses.json"
    place = Place(root=folder, state=StateFile(folder / "state.json"), progress=progress)
    kept: list[Kept] = []
    with _only_one(folder):
        plan = make_plan(variables, home)
        ensure_packages(place, [("nginx-light", lambda: _nginx() is not None)])
        try:
            prepare(place, plan)
            for part in [*parts(plan, folder), front(plan, folder / "nginx", _nginx() or "nginx")]:
                kept.append(Kept(part, place))
                kept[-1].start()
            await_ready(kept, progress)
            write_addresses(addresses, plan, kept)
            progress.say("production", f"ready on {plan.url}/ (Ctrl-C ends it); logs in {folder / 'logs'}")
            while True:
                time.sleep(0.25)
                for one in kept:
                    one.keep(progress)
        finally:
            began = time.monotonic()
            stop_all(kept, progress)
            addresses.unlink(missing_ok=True)
            progress.say("production", f"ended in {time.monotonic() - began:.1f} s")


def _nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def main() -> int:
    """Run; the exit code: 0 after a signal, 1 when it could not start."""
    os.chdir(ROOT)
    home = Path(os.environ.get("ATRIUM_HOME") or "var").resolve()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        supervise(os.environ, home, Progress())
    except ServiceFailed as failure:
        print(f"run-production: {failure}", file=sys.stderr)
        return 1
    except Stopped:
        return 0
    return 0
