"""`Scaler` on this machine: engines as processes, for the profiles of one server process.

What is started stands in the operator's own file, as a list of arguments; nothing of the database comes into it, and no
shell reads it. An engine gets a free port of the pool's, a log, and of the server's environment only what engines are
known to need. They end with the server; those of one that was killed are ended by the next.
"""

import asyncio
import http.client
import json
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from inference.fleets import Fleet, FleetEngine
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Unavailable

log = structlog.get_logger(__name__)

# What is left of the server's environment: its keys and addresses are none of an engine's business.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "USER")
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "HF_", "VLLM_", "OMP_", "TORCH_", "XDG_")
STOP_WITHIN_S = 10.0
CLOSE_WITHIN_S = 5.0
HEALTH_S = 1.0
# An engine that ends sooner than this has not worked; the next one is started after a growing pause.
SOON_S = 60.0
PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0


@dataclass(slots=True)
class _Started:
    process: Process
    port: int
    since: float


class LocalScaler:
    """Adapter of `Scaler`."""

    def __init__(
        self, *, pools: Mapping[str, Mapping[str, Any]], folder: str, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`pools` says of each pool its `command` (with `{port}`), `model`, `ports` (first and last). Logs and what runs
        are kept in `folder`.
        """
        self._pools, self._folder, self._clock = pools, Path(folder), clock
        self._started: dict[str, dict[int, _Started]] = {name: {} for name in pools}
        self._failures: dict[str, int] = dict.fromkeys(pools, 0)
        self._not_before: dict[str, float] = dict.fromkeys(pools, 0.0)
        self._cleaned = False
        self._one_at_a_time = asyncio.Lock()

    async def observe(self, pool: str) -> Fleet | None:
        """The engines that run; those that have ended are forgotten."""
        said = self._pools.get(pool)
        if said is None:
            return None
        async with self._one_at_a_time:
            await self._clean()
            self._forget_ended(pool)
            there = list(self._started[pool].values())
        ready = await asyncio.gather(*(asyncio.to_thread(_answers, each.port) for each in there))
        for each, answers in zip(there, ready, strict=True):
            if answers and self._clock.monotonic() - each.since > SOON_S:
                self._failures[pool] = 0
        engines = tuple(_engine(each, said, answers) for each, answers in zip(there, ready, strict=True))
        return Fleet(engines, said["model"])

    async def scale(self, pool: str, desired: int, leaving: Sequence[str]) -> None:
        """Start or end engines until there are `desired`; those of `leaving` go first. Raises Unavailable."""
        said = self._pools.get(pool)
        if said is None:
            return
        async with self._one_at_a_time:
            await self._clean()
            self._forget_ended(pool)
            there = self._started[pool]
            going = sorted(there.values(), key=lambda each: (_url(each.port) not in leaving, -each.since))
            ends = going[: max(0, len(there) - desired)]
            for each in ends:
                del there[each.port]
            await asyncio.gather(*(self._end(each, STOP_WITHIN_S) for each in ends))
            while len(there) < desired:
                await self._start(pool, said)

    async def close(self) -> None:
        """End all engines."""
        there = [each for pool in self._started.values() for each in pool.values()]
        for pool in self._started.values():
            pool.clear()
        await asyncio.gather(*(self._end(each, CLOSE_WITHIN_S) for each in there))

    async def _start(self, pool: str, said: Mapping[str, Any]) -> None:
        there, now = self._started[pool], self._clock.monotonic()
        if now < self._not_before[pool]:
            raise Unavailable("The last engine ended soon after it was started; the next one waits a little.")
        first, last = said["ports"]
        port = next((each for each in range(first, last + 1) if each not in there and _free(each)), None)
        if port is None:
            raise Unavailable("No port is free for another engine.")
        command = [part.replace("{port}", str(port)) for part in said["command"]]
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{port}.log").open("ab") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env=_environment(said.get("environment", {})),
                )
            except OSError as error:
                raise Unavailable(f"The engine's command cannot be run: {error.strerror}.") from error
        there[port] = _Started(process, port, now)
        note = {"pid": process.pid, "began": _began(process.pid)}
        (self._folder / f"{port}.json").write_text(json.dumps(note))
        log.info("engine_started", pool=pool, port=port, pid=process.pid)

    def _forget_ended(self, pool: str) -> None:
        there, now = self._started[pool], self._clock.monotonic()
        for port, each in list(there.items()):
            if each.process.returncode is None:
                continue
            del there[port]
            (self._folder / f"{port}.json").unlink(missing_ok=True)
            log.warning("engine_ended", pool=pool, port=port, status=each.process.returncode)
            if now - each.since < SOON_S:
                self._failures[pool] += 1
                pause = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** (self._failures[pool] - 1))
                self._not_before[pool] = now + pause

    async def _end(self, each: _Started, within_s: float) -> None:
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                await each.process.wait()
        except TimeoutError:
            pass
        # What it started itself may have outlived it.
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        await each.process.wait()
        (self._folder / f"{each.port}.json").unlink(missing_ok=True)
        log.info("engine_stopped", port=each.port)

    async def _clean(self) -> None:
        """Once: end what a server that was killed has left behind."""
        if self._cleaned:
            return
        self._cleaned = True
        for note in self._folder.glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                said = json.loads(note.read_text())
                # The number may be another process's by now.
                if said["began"] and _began(said["pid"]) == said["began"]:
                    os.killpg(said["pid"], signal.SIGKILL)
                    log.warning("engine_left_behind", pid=said["pid"])
            note.unlink(missing_ok=True)


def _engine(each: _Started, said: Mapping[str, Any], ready: bool) -> FleetEngine:
    return FleetEngine(
        url=_url(each.port),
        model=said["model"],
        served_name=said.get("served_name", ""),
        max_concurrency=said.get("max_concurrency", 0),
        ready=ready,
    )


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return {**kept, **more}


def _answers(port: int) -> bool:
    """Whether the engine says that it is well. Blocks for a second at most."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free(port: int) -> bool:
    """Whether an engine can listen there: a port may be taken without anybody who answers, by a connection going out."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _began(pid: int) -> str:
    """When the process began, in ticks since the machine did; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
