"""Peers brought to life: installed on demand, started on loopback, ended; and what their processes use."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load_runs import STOP_S, chat_body, processor_seconds, resident_bytes
from benchmarks.peers.sides import Peer, Start

INSTALL_S = 900
START_S = 90.0
ANSWER_S = 30.0
WORDS = 32


class NotHere(Exception):
    """A peer that could not be installed or does not serve, and why, in a line."""


@dataclass(frozen=True, slots=True)
class Side:
    """Something that answers chat completions at `url`, and the process it is; None for the upstream itself."""

    title: str
    url: str
    key: str
    headers: Mapping[str, str]
    pid: int | None


def install(peer: Peer, folder: Path) -> None:
    """Install what is pinned into `folder`, unless it is there already. Raises NotHere with the last line of it."""
    wanted = json.dumps([peer.python, dict(peer.node), dict(peer.overrides)])
    stamp = folder / "installed.json"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if peer.python:
        _run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        _run([*pip, *peer.python], folder)
    if peer.node:
        package = {"private": True, "dependencies": dict(peer.node), "overrides": dict(peer.overrides)}
        (folder / "package.json").write_text(json.dumps(package))
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        _run(["npm", "install", *quiet], folder)
    stamp.write_text(wanted)


def _run(words: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)
    except FileNotFoundError:
        raise NotHere(f"there is no {words[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise NotHere(f"{words[0]} took more than {INSTALL_S} s") from None
    if done.returncode:
        raise NotHere((done.stderr.strip() or done.stdout.strip() or "no word of it").splitlines()[-1][:300])


@contextmanager
def serving(peer: Peer, start: Start) -> Iterator[Side]:
    """The peer, serving, for the block. Raises NotHere when it does not answer a whole completion and a whole stream."""
    for name, text in peer.files(start).items():
        (start.folder / name).write_text(text)
    home = start.folder / "home"
    home.mkdir(exist_ok=True)
    # Nothing of the caller's environment: neither keys of real services nor addresses of proxies.
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **peer.variables}
    with (start.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            peer.command(start), cwd=home, env=variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{start.port}/v1"
        side = Side(peer.title, url, peer.key, peer.headers(start), process.pid)
        _wait_until_it_answers(side, process, start.folder / "log")
        yield side
    finally:
        _end(process)


def _wait_until_it_answers(side: Side, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            for stream in (False, True):
                ask(side, stream=stream)
            return
        except (OSError, ValueError) as error:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                lines = log.read_text(errors="replace").strip().splitlines() or ["nothing in its log"]
                raise NotHere(f"{'ended' if ended else error}; {lines[-1][:200]}") from error
            time.sleep(0.3)


def ask(side: Side, *, stream: bool) -> None:
    """One call. Raises OSError when it is refused, ValueError when its answer is not whole."""
    body = json.dumps(chat_body(stream=stream)).encode()
    headers = {"content-type": "application/json", **side.headers}
    if side.key:
        headers["authorization"] = f"Bearer {side.key}"
    request = urllib.request.Request(f"{side.url}/chat/completions", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise OSError(f"{error.code} {error.read()[:200]!r}") from error
    if text.count("word") != WORDS or (stream and "data: [DONE]" not in text):
        raise ValueError(f"an answer that is not whole: {text[-200:]!r}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def family(pid: int) -> list[int]:
    """The process and all that it started, and they in turn."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # It has ended meanwhile.
            children.setdefault(parent, []).append(int(each.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def used_seconds(pid: int) -> float:
    """Processor time of the process and of those it started, as far as they live."""
    used = 0.0
    for member in family(pid):
        with contextlib.suppress(OSError):
            used += processor_seconds(member)
    return used


def used_bytes(pid: int) -> dict[str, int] | None:
    """Memory of the process alone, and with those it started (what they share is counted for each); None: it ended."""
    try:
        alone = resident_bytes(pid)
        return {"process": alone, "family": sum(resident_bytes(each) for each in family(pid))}
    except (OSError, RuntimeError):
        return None
