"""The Go programs of the benchmarks: built once, the upstream started, loads run and their processor time counted."""

import contextlib
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PRIORITY = -15
# How long answers may take that are open when a load ends.
GRACE_S = 60.0
STOP_S = 10.0
PROMPT = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Say thirty-two words about nothing in particular."},
]


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the built programs are."""

    load: Path
    upstream: Path


def build_programs(target: Path) -> Programs | None:
    """Build both programs into `target`; None when this machine has no Go."""
    go = shutil.which("go")
    if go is None:
        return None
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [go, "build", "-o", f"{target}/", "./load", "./upstream"],
        cwd=FOLDER,
        check=True,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOPROXY": "off"},
    )
    return Programs(load=target / "load", upstream=target / "upstream")


@contextmanager
def running_upstream(programs: Programs, port: int) -> Iterator[str]:
    """The upstream on `port` of loopback, for the block; yields its OpenAI base URL."""
    process = subprocess.Popen([str(programs.upstream), "-listen", f"127.0.0.1:{port}"])
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def chat_body(*, stream: bool, **extra: Any) -> dict[str, Any]:
    """The request that every load sends."""
    return {"model": "bench", "messages": PROMPT, "max_tokens": 64, "stream": stream, **extra}


def run_load(
    programs: Programs,
    base_url: str,
    *,
    connections: int,
    seconds: float,
    body: Mapping[str, Any],
    key: str = "",
    keys: Path | None = None,
    headers: Mapping[str, str] | None = None,
    words: int = 0,
    gaps: bool = False,
    warm: float = 1.0,
) -> dict[str, Any]:
    """One load against `base_url`; what the program prints (see load/main.go).

    `words`: how many each answer must have; 0 does not look. `keys`: a file of keys, one a line, that take turns. Raises TimeoutExpired when the program does not end.
    """
    command = [str(programs.load), "-url", f"{base_url}/chat/completions", "-c", str(connections)]
    command += ["-seconds", str(seconds), "-warm", str(warm), "-body", json.dumps(body), "-words", str(words)]
    command += ["-grace", f"{GRACE_S}s"]
    if key:
        command += ["-key", key]
    if keys is not None:
        command += ["-keys", str(keys)]
    for name, value in (headers or {}).items():
        command += ["-header", f"{name}: {value}"]
    if body.get("stream"):
        command.append("-stream")
    if gaps:
        command.append("-gaps")
    limit_s = warm + seconds + 2 * GRACE_S
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit_s)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def processor_seconds(pid: int) -> float:
    """User and system time that the process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Memory of the process that is in RAM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


def count_usage(home: Path, sent: int) -> dict[str, int]:
    """Requests sent, and usage rows in the ledger of `home` once it has been drained (waits up to a minute for it)."""
    with contextlib.closing(sqlite3.connect(f"file:{home / 'atrium.sqlite3'}?mode=ro", uri=True)) as database:
        deadline = time.monotonic() + 60
        counted = -1
        while counted != sent and time.monotonic() < deadline:
            [(counted,)] = database.execute("SELECT count(*) FROM tenants_usagerecord").fetchall()
            time.sleep(0.5)
        [(billed,)] = database.execute(
            "SELECT count(*) FROM tenants_usagerecord WHERE cost_nano > 0"
        ).fetchall()
    return {"requests_sent": sent, "usage_rows": counted, "usage_rows_with_cost": billed}


def raise_priority(priority: int = PRIORITY) -> None:
    """Let other work on this machine disturb less, where that is allowed: all that runs here alike, by inheritance."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, priority)


def machine() -> dict[str, Any]:
    """Where it runs, and how busy it is there now."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg()[0],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
