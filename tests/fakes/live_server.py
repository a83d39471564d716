"""A whole Atrium in processes of its own, over an embedded home of its own: for tests from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.schema import place_schema

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
STOP_S = 12.0
EFFECT_S = 4.0


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class LiveServer:
    """`manage.py serve` on loopback. `start` returns when it is ready, `stop` when it is gone."""

    home: Path
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    # Whether an empty home begins with tables, which saves the ten seconds of making them.
    migrated: bool = True

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """What it wrote to standard output and error."""
        return self.home / "server.log"

    def start(self, *options: str) -> None:
        """Start it and wait until it is ready. Raises RuntimeError with the end of its log."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self.migrated and not self.home.joinpath("atrium.sqlite3").exists():
            place_schema(self.home / "atrium.sqlite3")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", *options],
                cwd=ROOT,
                env=self.variables(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._ready():
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self.log_path.read_text()[-4000:]}")

    def stop(self) -> float:
        """SIGTERM, and SIGKILL after twelve seconds; returns how long it took."""
        if self.process is None:
            return 0.0
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        return time.monotonic() - began

    def manage(self, *words: str) -> Any:
        """Run a management command with `--json` against its home; the answer parsed. Raises RuntimeError."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words, "--json"],
            cwd=ROOT,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{words[0]} failed: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def run_code(self, code: str) -> Any:
        """Run Python within its installation, in one process; what it prints as JSON, parsed. Raises RuntimeError."""
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code],
            cwd=ROOT,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the code failed: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def variables(self) -> dict[str, str]:
        """The environment of its processes: nothing of the caller's own installation."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}
        return {
            **kept,
            "ATRIUM_HOME": str(self.home),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            **self.environment,
        }

    def request(self, method: str, path: str, *, key: str = "", body: Any = None) -> tuple[int, Any]:
        """One JSON request; status and parsed answer (None when it has none)."""
        raw = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=raw, method=method)
        request.add_header("content-type", "application/json")
        if key:
            request.add_header("authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text else None

    def wait_for_model(self, key: str, model: str) -> None:
        """Wait until `model` is listed: a registered engine is in effect within two seconds."""
        deadline = time.monotonic() + EFFECT_S
        while time.monotonic() < deadline:
            status, listed = self.request("GET", "/v1/models", key=key)
            if status == 200 and model in {entry["id"] for entry in listed["data"]}:
                return
            time.sleep(0.05)
        raise RuntimeError(f"{model} was not listed within {EFFECT_S} s")

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
