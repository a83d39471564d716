"""The full profile on loopback, as `make run-production` starts it, and the clients that use it from outside."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import websockets
from openai import OpenAI

ROOT = Path(__file__).resolve().parents[2]
READY_S = 300
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Stack:
    """A running installation: its front, its gateways one by one, its environment for commands."""

    url: str
    gateways: tuple[str, ...]
    environment: dict[str, str]
    process: "subprocess.Popen[bytes]"
    clients: list[OpenAI] = field(default_factory=list)
    # Tenants that nobody has used yet, each with a key of its admin.
    fresh: list[tuple[str, str]] = field(default_factory=list)

    def manage(self, *arguments: str) -> Any:
        """Run a command with `--json` and return what it said."""
        return self._run(*arguments, "--json")

    def run_code(self, code: str) -> Any:
        """Run Python within the installation, in one process; what it prints as JSON, parsed."""
        return self._run("shell", "--verbosity", "0", "--command", code)

    def _run(self, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.strip().splitlines()[-1])


@dataclass(frozen=True, slots=True)
class Member:
    """A tenant made for one test, seen through an admin's key."""

    stack: Stack
    slug: str
    key: str

    def rest(self, method: str, path: str, **options: Any) -> Any:
        """Call the REST API; the parsed body of a 2xx answer."""
        answer = requests.request(
            method,
            f"{self.stack.url}/api/v1{path}",
            headers={"Authorization": f"Bearer {self.key}"} | options.pop("headers", {}),
            timeout=60,
            **options,
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def openai(self) -> OpenAI:
        """The official client, without retries; closed with the stack's other clients after each test."""
        made = OpenAI(base_url=f"{self.stack.url}/v1", api_key=self.key, max_retries=0)
        self.stack.clients.append(made)
        return made

    def upload(self, knowledge_base: str, name: str, text: str) -> dict[str, Any]:
        """Upload a document and wait until it is ready."""
        path = f"/knowledge-bases/{knowledge_base}/documents"
        made = self.rest("POST", path, files={"file": (name, text.encode())})
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            document: dict[str, Any] = self.rest("GET", f"{path}/{made['id']}")
            if document["state"] in ("ready", "failed"):
                assert document["state"] == "ready", document["error"]
                return document
            time.sleep(0.2)
        raise AssertionError(f"{name} was not ready after {PATIENCE_S} s")


# To start a process takes longer than all that it does: one makes the tenants of the next tests too.
_AT_ONCE = 8
_TENANTS = """
import json
from tenants.services import create_tenant, issue_api_key
made = []
for slug in {slugs!r}:
    tenant = create_tenant(slug=slug, name=slug)
    made.append([slug, issue_api_key(tenant_id=tenant.id, name="tests", role="admin").key])
print(json.dumps(made))
"""


def new_member(stack: Stack) -> Member:
    """A fresh tenant and an admin's key in it."""
    if not stack.fresh:
        slugs = [f"t{uuid.uuid4().hex[:12]}" for _ in range(_AT_ONCE)]
        stack.fresh.extend((slug, key) for slug, key in stack.run_code(_TENANTS.format(slugs=slugs)))
    slug, key = stack.fresh.pop()
    return Member(stack, slug, key)


def vllm_urls() -> list[str]:
    """Base URLs of the vLLM replicas, ending in `/v1`."""
    return os.environ["ATRIUM_TEST_VLLM_URLS"].split(",")


def vllm_running(url: str) -> int:
    """How many requests the vLLM at `url` works on now, by its own count."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return int(
        sum(float(value) for value in re.findall(r"^vllm:num_requests_running\{[^}]*\} (\S+)", text, re.M))
    )


def wait_for_running(url: str, wanted: bool, *, within_s: float) -> float:
    """Seconds until vLLM works on something (or on nothing)."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if (vllm_running(url) > 0) == wanted:
            return time.monotonic() - began
        time.sleep(0.02)
    raise AssertionError(f"vLLM's running count was not {'above' if wanted else ''} 0 within {within_s} s")


class Socket:
    """A WebSocket of one member at one gateway."""

    def __init__(self, base_url: str, key: str) -> None:
        self._url = base_url.replace("http", "ws", 1) + "/ws/chat"
        self._protocols = ["atrium.v1", f"atrium.bearer.{key}"]

    async def __aenter__(self) -> "Socket":
        self._socket = await websockets.connect(
            self._url, subprotocols=[websockets.Subprotocol(name) for name in self._protocols]
        )
        assert self._socket.subprotocol == "atrium.v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._socket.close()

    async def send(self, **frame: Any) -> None:
        await self._socket.send(json.dumps(frame))

    async def receive(self, *, within_s: float = 30) -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            frame: dict[str, Any] = json.loads(await self._socket.recv())
        return frame

    async def until(self, *kinds: str, within_s: float = 60) -> list[dict[str, Any]]:
        """The frames up to and with the first of one of `kinds`."""
        frames: list[dict[str, Any]] = []
        async with asyncio.timeout(within_s):
            while not frames or frames[-1]["type"] not in kinds:
                frames.append(await self.receive(within_s=within_s))
        return frames


def start_stack(**changed: str) -> Stack:
    """Start the production supervisor and wait until it says where everything is; `changed` are variables."""
    environment = {**os.environ, **changed}
    addresses = Path(environment["ATRIUM_HOME"]) / "production" / "addresses.json"
    addresses.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "deploy/production/run.py"], cwd=ROOT, env=environment, start_new_session=True
    )
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the production supervisor ended"
        if addresses.exists():
            told = json.loads(addresses.read_text())
            return Stack(told["url"], tuple(told["gateways"]), environment | told["environment"], process)
        time.sleep(0.2)
    stop_stack(process)
    raise AssertionError(f"the full profile was not ready after {READY_S} s")


def stop_stack(process: "subprocess.Popen[bytes]") -> None:
    """End it, and see that it ends within ten seconds."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=12)
