"""The measurement: each cell of the table by each side, in turns, several times over."""

import importlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.load_runs import Programs, chat_body, count_usage, run_load, running_upstream
from benchmarks.peers.living import WORDS, NotHere, Side, ask, install, serving, used_bytes, used_seconds
from benchmarks.peers.sides import PEERS, Start

CONNECTIONS = (1, 16, 100)
WARM_S = 0.5
# Probes of the readiness of Atrium, which are in its ledger too.
PROBES = 2
DIRECT = "direct"
ATRIUM = "Atrium"
CELLS = [(stream, connections) for stream in (False, True) for connections in CONNECTIONS]


def install_all(folder: Path) -> dict[str, str]:
    """Every peer that is not there yet; why, for those that cannot be had."""
    missing = {}
    for peer in PEERS:
        print(f"  {peer.title}: installing, if it is not there", flush=True)
        try:
            install(peer, folder / peer.folder)
        except NotHere as reason:
            missing[peer.title] = str(reason)
    return missing


def measure(
    programs: Programs, folder: Path, missing: dict[str, str], *, turns: int, seconds: float
) -> dict[str, Any]:
    """All of it: what each side did in each turn of each cell, its memory, and who could not be measured."""
    free_port = importlib.import_module("fakes.live_server").free_port
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(programs, free_port()))
        server, atrium = stack.enter_context(_atrium(folder / "atrium-home", upstream))
        sides = [Side(DIRECT, upstream, "", {}, None), atrium]
        for peer in PEERS:
            if peer.title in missing:
                continue
            start = Start(folder / peer.folder, free_port(), free_port(), upstream.removesuffix("/v1"))
            try:
                sides.append(stack.enter_context(serving(peer, start)))
            except NotHere as reason:
                missing[peer.title] = str(reason)
        results = take_turns(programs, sides, turns=turns, seconds=seconds)
        memory = {side.title: used_bytes(side.pid) for side in sides if side.pid}
        sent = PROBES + sum(each["sent"] for each in results if each["side"] == ATRIUM)
        usage = count_usage(server.home, sent)
    return {"turns": results, "memory": memory, "missing": missing, "usage": usage}


@contextmanager
def _atrium(home: Path, upstream: str) -> Iterator[tuple[Any, Side]]:
    """One process of Atrium over a new home, with a tenant's key and the upstream as its engine."""
    shutil.rmtree(home, ignore_errors=True)
    server = importlib.import_module("fakes.live_server").LiveServer(home=home)
    server.start("--no-demo")
    try:
        server.manage("create_tenant", "bench", "--name", "Bench")
        key = server.manage("issue_api_key", "--tenant", "bench")["key"]
        server.manage(
            *("register_engine", "--pool", "bench", "--model", "bench", "--url", upstream),
            *("--max-concurrency", "1000", "--input-price", "1", "--output-price", "2"),
        )
        server.wait_for_model(key, "bench")
        side = Side(ATRIUM, f"{server.url}/v1", key, {}, server.process.pid)
        for stream in (False, True):
            ask(side, stream=stream)
        yield server, side
    finally:
        server.stop()


def take_turns(programs: Programs, sides: list[Side], *, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Each cell by each side, `turns` times; another side begins each time."""
    found = []
    for turn in range(turns):
        for stream, connections in CELLS:
            first = turn % len(sides)
            for side in sides[first:] + sides[:first]:
                found.append(_one_load(programs, side, stream, connections, seconds))
            print(
                f"  turn {turn + 1}: {'stream' if stream else 'JSON'}, {connections} connections", flush=True
            )
    return found


def _one_load(
    programs: Programs, side: Side, stream: bool, connections: int, seconds: float
) -> dict[str, Any]:
    cell = {"side": side.title, "stream": stream, "connections": connections}
    before = used_seconds(side.pid) if side.pid else 0.0
    try:
        load = run_load(
            programs,
            side.url,
            connections=connections,
            seconds=seconds,
            body=chat_body(stream=stream),
            key=side.key,
            headers=side.headers,
            words=WORDS,
            warm=WARM_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        load = {"sent": 0, "requests": 0, "errors": 1, "example_error": str(error)[-300:]}
    if side.pid and load["sent"]:
        load["cpu_ms_per_request"] = (used_seconds(side.pid) - before) * 1000 / load["sent"]
    return {**cell, **load, "load_average": os.getloadavg()[0], "at": time.time()}
