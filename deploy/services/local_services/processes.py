"""Processes that outlive the command: who they are, whether they still are, and how they end.

A pid alone names nobody, because the kernel gives it again. An identity is the pid with its start time
(ticks since boot) and the boot's id; only a process that still has all three is ever signalled. Each service
leads its own session, so what it started can be ended with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for good: no later process compares equal."""

    pid: int
    started_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a service. `account` is a system user to become (only when started as root).

    `open_folder` is opened before that, and "{folder}" in the arguments becomes a path that leads there by
    the open descriptor: the account then needs no way through the folders above it.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    account: str | None = None
    open_folder: Path | None = None
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    session: int
    started_ticks: int


def _read_stat(pid: int) -> _Stat | None:
    """The fields of /proc/PID/stat that matter here, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The command name is in parentheses and may itself contain any character.
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(state=fields[0], session=int(fields[3]), started_ticks=int(fields[19]))


def boot_id() -> str:
    """The kernel's id of this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def identify(pid: int) -> Identity | None:
    """The identity of a living process (a zombie is not living), or None."""
    stat = _read_stat(pid)
    if stat is None or stat.state in {"Z", "X"}:
        return None
    return Identity(pid=pid, started_ticks=stat.started_ticks, boot_id=boot_id())


def is_alive(identity: Identity | None) -> bool:
    """Whether exactly this process still runs."""
    return identity is not None and identify(identity.pid) == identity


def living_in(folder: Path) -> list[int]:
    """The living processes whose working directory is `folder`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            same = os.path.samefile(f"/proc/{entry}/cwd", folder)
        except OSError:
            continue
        if same and identify(int(entry)):
            found.append(int(entry))
    return found


def popen(launch: Launch, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process in its own session, its output into an open file. Raises OSError."""
    folder = os.open(launch.open_folder, os.O_RDONLY | os.O_DIRECTORY) if launch.open_folder else None
    try:
        return subprocess.Popen(
            [part.replace("{folder}", f"/proc/self/fd/{folder}") for part in launch.argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=launch.directory,
            env=dict(launch.environment),
            start_new_session=True,
            pass_fds=() if folder is None else (folder,),
            user=launch.account,
            group=launch.account,
            extra_groups=[] if launch.account else None,
        )
    finally:
        if folder is not None:
            os.close(folder)


def spawn(launch: Launch, log: Path) -> tuple[subprocess.Popen[bytes], Identity]:
    """Start a service in its own session, its output appended to `log`. Raises OSError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"--- start {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} ---\n".encode())
        output.flush()
        child = popen(launch, output)
    stat = _read_stat(child.pid)
    if stat is None:  # pragma: no cover - a child that was not waited for always has its entry
        raise OSError(f"process {child.pid} vanished")
    return child, Identity(pid=child.pid, started_ticks=stat.started_ticks, boot_id=boot_id())


def session_members(leader: Identity) -> list[Identity]:
    """Living processes of the session that `leader` made, itself included.

    While a session has members the kernel does not give its number to a new process, so a session whose
    leader is gone is still the leader's; when the number is someone else's now, the answer is empty.
    """
    if leader.boot_id != boot_id():
        return []
    current = _read_stat(leader.pid)
    if current is not None and current.started_ticks != leader.started_ticks:
        return []
    members = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        stat = _read_stat(int(entry))
        if stat is None or stat.session != leader.pid or stat.state in {"Z", "X"}:
            continue
        if stat.started_ticks >= leader.started_ticks:
            members.append(Identity(int(entry), stat.started_ticks, leader.boot_id))
    return members


def _signal(identity: Identity, number: int) -> None:
    if is_alive(identity):
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            return


def _wait_gone(leader: Identity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while session_members(leader):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def end(leader: Identity, *, stop_signal: int, seconds: float, rest_seconds: float = 3.0) -> str:
    """End a service: ask its leader, wait `seconds`, ask all that is left, wait `rest_seconds`, kill.

    Says how it went.
    """
    if not session_members(leader):
        return "was not running"
    _signal(leader, stop_signal)
    # What is left after its leader has gone will not end by itself.
    deadline = time.monotonic() + seconds
    while is_alive(leader) and time.monotonic() < deadline:
        time.sleep(0.05)
    if not is_alive(leader) and _wait_gone(leader, rest_seconds):
        return "stopped"
    for member in session_members(leader):
        _signal(member, signal.SIGTERM)
    if _wait_gone(leader, rest_seconds):
        return "stopped (by a second request)"
    for member in session_members(leader):
        _signal(member, signal.SIGKILL)
    return "killed" if _wait_gone(leader, 5.0) else "could not be killed"


def log_tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log since its last start, for a failure's message."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    since = text[text.rfind("--- start ") :] if "--- start " in text else text
    return "\n".join(since.splitlines()[-lines:])
