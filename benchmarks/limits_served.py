"""Whole servers over sockets: requests a second without limits and with them, in loads that take turns."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, Protocol

from load_runs import build_programs, chat_body, processor_seconds, run_load, running_upstream
from one_request import HOME, ROOT

from kernel.backends import import_object

SERVICES = ROOT / "var" / "services" / "environment"
# Of one load, and how many of each kind take turns.
SERVED_S = 3.0
SERVED_TURNS = 6
SCALE_TURNS = 16
CONNECTIONS = 16
ENGINE = ("--max-concurrency", "1000", "--input-price", "1", "--output-price", "2")
FOUR = (
    *("--requests-per-minute", "5000000000", "--tokens-per-minute", "5000000000"),
    *("--max-concurrency", "5000000000", "--monthly-budget", "5000000"),
)


def served(free: str, limited: str) -> dict[str, Any]:
    """A server of the embedded profile; keys of its home: one without limits, one that has them all."""
    keys = {"free": free, "limited": limited}
    server = import_object("fakes.live_server.LiveServer")(home=HOME)
    programs = _programs()
    server.start("--no-demo")
    try:
        with running_upstream(programs, import_object("fakes.live_server.free_port")()) as upstream:
            server.manage(
                "register_engine", "--pool", "served", "--model", "served", "--url", upstream, *ENGINE
            )
            found = _in_turn(programs, server.url, server.process.pid, keys)
    finally:
        server.stop()
    return {"share": found["limited"]["share"], **found}


def served_full() -> dict[str, Any]:
    """A gateway of the full profile: PostgreSQL of `make services`, a Redis of its own, a control plane beside it."""
    _read_services()
    folder, programs = HOME / "cell", _programs()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (
        import_object("fakes.cell.running_cell")(folder, gateways=1) as cell,
        running_upstream(programs, import_object("fakes.live_server.free_port")()) as upstream,
    ):
        cell.manage("register_engine", "--pool", "served", "--model", "served", "--url", upstream, *ENGINE)
        made = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "limits_keys.py")],
            env=cell.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        keys = {
            "free": cell.new_tenant(),
            "four": cell.new_tenant(*FOUR),
            "limited": made.stdout.split()[-1],
        }
        gateway = cell.gateways[0]
        found = _in_turn(programs, gateway.url, gateway.process.pid, keys)
    return {"share": found["limited"]["share"], "share_four": found["four"]["share"], **found}


class Editing(AbstractContextManager["Editing"], Protocol):
    """Edits a home within blocks."""

    def end(self) -> float:
        """For good."""
        ...


def served_scale(
    homes: Mapping[str, tuple[Path, Sequence[str]]], editing: Callable[[], Editing]
) -> dict[str, Any]:
    """Whole servers beside each other, a home and keys that take turns each, `small` the first: loads of all in turn, then
    again while the others' homes are edited, in their turns alone.

    What the machine does for the editor costs all of them, so the second ratio is that of their own processor time.
    """
    programs, free_port = _programs(), import_object("fakes.live_server.free_port")
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(programs, free_port()))
        sides = {name: _Side(stack, programs, *each, upstream) for name, each in homes.items()}
        quiet = _turns_of(sides, nullcontext())
        # Made now: stopped, it may hold the database that a server would start with.
        editor = editing()
        stack.callback(editor.end)
        edited = _turns_of(sides, editor)
    return {
        "served": quiet["requests_per_s"],
        "served_processor": quiet["cpu_us"],
        "served_edits_processor": edited["cpu_us"],
        "served_figures": {
            name: {"quiet": side.figures(0), "edits": side.figures(1)} for name, side in sides.items()
        },
    }


class _Side:
    """A server of its own, whose callers take turns."""

    def __init__(
        self, stack: ExitStack, programs: Any, home: Path, keys: Sequence[str], upstream: str
    ) -> None:
        """Ready once each caller has called."""
        self._programs, self._keys = programs, home / "keys.txt"
        self._keys.write_text("\n".join(keys))
        self._server = import_object("fakes.live_server.LiveServer")(home=home)
        self._server.start("--no-demo")
        stack.callback(self._server.stop)
        self._server.manage(
            *("register_engine", "--pool", "served", "--model", "served", "--url", upstream, *ENGINE)
        )
        _wait_for_model(self._server.url, keys[0])
        self.loads: list[list[tuple[float, float]]] = []
        # An engine of an earlier run, which is gone, is found out meanwhile.
        self.turn(seconds=3.0 + len(keys) / 1000, strict=False)

    def turn(self, seconds: float = SERVED_S, *, strict: bool = True) -> tuple[float, float]:
        """Requests a second, and microseconds of processor time a request, of one load. Raises RuntimeError when a request
        failed and it is `strict`.
        """
        before = processor_seconds(self._server.process.pid)
        body = {**chat_body(stream=False), "model": "served"}
        url, connections = f"{self._server.url}/v1", CONNECTIONS
        load = run_load(
            self._programs, url, connections=connections, seconds=seconds, body=body, keys=self._keys
        )
        if load["errors"] and strict:
            raise RuntimeError(f"requests failed: {load}")
        spent = processor_seconds(self._server.process.pid) - before
        return load["requests_per_s"], spent * 1e6 / load["sent"]

    def figures(self, phase: int) -> dict[str, float]:
        """The medians of a phase."""
        rates, spent = zip(*self.loads[phase], strict=True)
        return {
            "requests_per_s": round(statistics.median(rates)),
            "cpu_us": round(statistics.median(spent), 1),
        }


def _turns_of(sides: Mapping[str, _Side], editor: AbstractContextManager[object]) -> dict[str, float]:
    """How the last does beside the first: medians of neighbouring turns."""
    for side in sides.values():
        side.loads.append([])
    for _ in range(SCALE_TURNS):
        for number, side in enumerate(sides.values()):
            with editor if number else nullcontext():
                side.loads[-1].append(side.turn())
    first, *_, last = (side.loads[-1] for side in sides.values())
    pairs = list(zip(first, last, strict=True))
    return {
        "requests_per_s": round(statistics.median(b[0] / a[0] for a, b in pairs), 3),
        "cpu_us": round(statistics.median(a[1] / b[1] for a, b in pairs), 3),
    }


def _in_turn(programs: Any, url: str, pid: int, keys: Mapping[str, str]) -> dict[str, Any]:
    """Of each key: requests a second, processor time of the server, and both against those of the key `free`."""
    body = {**chat_body(stream=False), "model": "served"}
    rates: dict[str, list[float]] = {name: [] for name in keys}
    processor, sent = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 0)
    for name, key in keys.items():
        _wait_for_model(url, key)
        _require_limits(url, key, body, there=name != "free")
    for turn in range(SERVED_TURNS + 1):
        for name, key in keys.items():
            before = processor_seconds(pid)
            load = run_load(
                programs, f"{url}/v1", connections=CONNECTIONS, seconds=SERVED_S, body=body, key=key
            )
            if load["errors"]:
                raise RuntimeError(f"requests failed: {load}")
            # The first turn warms.
            if turn:
                rates[name].append(load["requests_per_s"])
                processor[name] += processor_seconds(pid) - before
                sent[name] += load["sent"]
    middle = {name: statistics.median(each) for name, each in rates.items()}
    spent = {name: processor[name] * 1e6 / sent[name] for name in keys}
    return {
        name: {
            "share": round(middle[name] / middle["free"], 3),
            "share_processor": round(spent["free"] / spent[name], 3),
            "requests_per_s": round(middle[name]),
            "cpu_us": round(spent[name], 1),
        }
        for name in keys
    }


def _require_limits(url: str, key: str, body: Any, *, there: bool) -> None:
    """Whether the key's calls are limited, which their answers tell, is as it should be: within two seconds of its limits."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), headers=headers, method="POST"
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with urllib.request.urlopen(request, timeout=10) as answer:
            if ("x-ratelimit-limit-requests" in answer.headers) == there:
                return
        time.sleep(0.2)
    raise RuntimeError("a key that should be limited is not, or the other way round")


def _programs() -> Any:
    programs = build_programs(HOME / "bin")
    if programs is None:
        raise RuntimeError("no Go on this machine, which the load generator needs")
    return programs


def _read_services() -> None:
    """What `make services` wrote down."""
    if not SERVICES.exists():
        raise RuntimeError("no services: run `make services` first")
    for line in SERVICES.read_text().splitlines():
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            os.environ[name] = value.strip("'\"")


def _wait_for_model(url: str, key: str) -> None:
    """Until the server lists the model, and answers by it: who was there before may be gone."""
    request = urllib.request.Request(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"})
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                if b'"served"' in answer.read():
                    return
        except urllib.error.URLError:
            pass
        time.sleep(0.2)
    raise RuntimeError("the model was not listed within half a minute")
