"""The Go programs of the benchmarks: built once, the upstream started, loads run and their processor time counted."""

import json
import os
import shutil
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
    gaps: bool = False,
    warm: float = 1.0,
) -> dict[str, Any]:
    """One load against `base_url`; what the program prints (see load/main.go)."""
    words = [str(programs.load), "-url", f"{base_url}/chat/completions", "-c", str(connections)]
    words += ["-seconds", str(seconds), "-warm", str(warm), "-body", json.dumps(body)]
    if key:
        words += ["-key", key]
    if body.get("stream"):
        words.append("-stream")
    if gaps:
        words.append("-gaps")
    done = subprocess.run(words, capture_output=True, text=True, check=True)
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
