"""What starts and stops engines: real processes, a stub of Kubernetes' API, a program behind a webhook."""

import asyncio
import hashlib
import hmac
import http.client
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fakes.answering import served
from fakes.live_server import free_port

from inference.adapters.kubernetes_scaler import KubernetesScaler
from inference.adapters.local_scaler import LocalScaler
from inference.adapters.webhook_scaler import WebhookScaler
from inference.fleets import Fleet
from kernel.errors import Unavailable, UpstreamFailed

ENGINE = """
import sys, os, json
from http.server import BaseHTTPRequestHandler, HTTPServer
class Engine(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Engine).serve_forever()
"""


def local(
    folder: Path, *, command: list[str] | None = None, ports: tuple[int, int] | None = None
) -> LocalScaler:
    first = free_port()
    said = {
        "command": command or [sys.executable, "-c", ENGINE, "{port}"],
        "model": "org/tiny",
        "ports": ports or (first, first + 20),
        "max_concurrency": 3,
        "environment": {"EXTRA": "yes"},
    }
    return LocalScaler(pools={"gpu": said}, folder=str(folder))


@pytest.fixture
async def scaler(tmp_path: Path) -> AsyncIterator[LocalScaler]:
    made = local(tmp_path)
    yield made
    await made.close()


async def ready(scaler: LocalScaler, count: int, *, asked_again: bool = False) -> Fleet:
    async with asyncio.timeout(60):
        while True:
            if asked_again:
                # As whoever decides does: an engine whose port another process took meanwhile is replaced.
                await scaler.scale("gpu", count, ())
            fleet = await scaler.observe("gpu")
            assert fleet is not None
            if sum(each.ready for each in fleet.engines) == count == len(fleet.engines):
                return fleet
            await asyncio.sleep(0.1)


async def test_processes_are_started_and_ended(scaler: LocalScaler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRIUM_SECRET_KEY", "not for engines")
    assert await scaler.observe("other") is None
    await scaler.scale("gpu", 2, ())
    await scaler.scale("gpu", 2, ())
    fleet = await ready(scaler, 2, asked_again=True)
    one, other = fleet.engines
    assert (one.model, one.max_concurrency) == ("org/tiny", 3)
    port = int(one.url.split(":")[2].removesuffix("/v1"))
    seen = json.loads(await asyncio.to_thread(fetch, port))
    assert seen["EXTRA"] == "yes"
    assert not [name for name in seen if name.startswith("ATRIUM_")]
    await scaler.scale("gpu", 1, (one.url,))
    left = await ready(scaler, 1)
    assert [each.url for each in left.engines] == [other.url]
    await scaler.scale("gpu", 0, ())
    assert (await ready(scaler, 0)).engines == ()


def notes_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.json"))


def fetch(port: int) -> bytes:

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/env")
    return connection.getresponse().read()


async def test_one_that_died_is_seen_and_the_next_waits_a_little(tmp_path: Path) -> None:
    scaler = local(tmp_path, command=[sys.executable, "-c", "raise SystemExit(3)", "{port}"])
    await scaler.scale("gpu", 1, ())
    await ready(scaler, 0)
    with pytest.raises(Unavailable, match="waits a little"):
        await scaler.scale("gpu", 1, ())
    await scaler.close()


async def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    scaler = local(
        tmp_path, command=[sys.executable, "-c", "import time; time.sleep(60)", f"; touch {mark}", "$(id)"]
    )
    await scaler.scale("gpu", 1, ())
    await scaler.close()
    assert not mark.exists()
    missing = local(tmp_path, command=[str(tmp_path / "nothing")])
    with pytest.raises(Unavailable):
        await missing.scale("gpu", 1, ())


async def test_what_a_killed_server_left_behind_is_ended(tmp_path: Path) -> None:
    first = local(tmp_path)
    await first.scale("gpu", 1, ())
    await ready(first, 1)
    (note,) = notes_in(tmp_path)
    process = json.loads(note.read_text())["pid"]
    # Another process's number, or no note at all, is nobody's business.
    (tmp_path / "1.json").write_text(json.dumps({"pid": os.getpid(), "began": "1"}))
    (tmp_path / "2.json").write_text("rubbish")
    second = local(tmp_path)
    fleet = await second.observe("gpu")
    assert fleet is not None
    assert fleet.engines == ()
    assert notes_in(tmp_path) == []
    await ready(first, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def pod(name: str, ip: str, *, ready: bool = True, **metadata: object) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, **metadata},
        "status": {"podIP": ip, "conditions": conditions, "phase": "Running"},
    }


async def test_kubernetes_scales_a_deployment_and_finds_its_pods(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("tok\n")
    (tmp_path / "namespace").write_text("ai")
    asked: list[tuple[str, str, Any]] = []
    pods = [
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2", ready=False),
        pod("c", "10.0.0.3", deletionTimestamp="now"),
    ]

    def answer(method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        assert headers["authorization"] == "Bearer tok"
        if method == "PATCH":
            assert headers["content-type"] == "application/merge-patch+json"
        asked.append((method, path, json.loads(body) if body else None))
        if path.endswith("/scale"):
            return 200, {"spec": {"replicas": 3}, "status": {"selector": "app=vllm,tier=gpu"}}
        return 200, {"items": pods}

    with served(answer) as url:
        said = {"deployment": "vllm", "model": "org/tiny", "port": 8000, "max_concurrency": 9}
        scaler = KubernetesScaler(pools={"gpu": said}, api=url, account=str(tmp_path))
        fleet = await scaler.observe("gpu")
        assert fleet is not None
        # One is on its way, one asked for and not made yet; the one that ends is none any more.
        assert [(each.url, each.ready) for each in fleet.engines] == [
            ("http://10.0.0.1:8000/v1", True),
            ("http://10.0.0.2:8000/v1", False),
            ("", False),
        ]
        assert asked[1][1].endswith("labelSelector=app%3Dvllm%2Ctier%3Dgpu")
        asked.clear()
        await scaler.scale("gpu", 2, ("http://10.0.0.1:8000/v1",))
        assert await scaler.observe("other") is None
    patches = [(path, body) for method, path, body in asked if method == "PATCH"]
    assert patches == [
        (
            "/api/v1/namespaces/ai/pods/a",
            {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1000"}}},
        ),
        ("/apis/apps/v1/namespaces/ai/deployments/vllm/scale", {"spec": {"replicas": 2}}),
    ]


async def test_kubernetes_that_refuses_or_babbles_is_told(tmp_path: Path) -> None:
    said = {"deployment": "vllm", "model": "org/tiny"}
    without = KubernetesScaler(pools={"gpu": said}, api="http://127.0.0.1:1", account=str(tmp_path))
    with pytest.raises(Unavailable, match="namespace"):
        await without.observe("gpu")
    (tmp_path / "token").write_text("tok")
    (tmp_path / "namespace").write_text("ai")
    with pytest.raises(Unavailable):
        await without.observe("gpu")
    for status, body in ((403, {}), (200, b"<html>"), (200, {"spec": {"replicas": 1}}), (200, [])):
        with served(lambda *_, status=status, body=body: (status, body)) as url:
            scaler = KubernetesScaler(pools={"gpu": said}, api=url, account=str(tmp_path))
            with pytest.raises(UpstreamFailed):
                await scaler.observe("gpu")


async def test_a_webhook_is_asked_with_a_signature() -> None:
    asked: list[Any] = []

    def answer(method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        at, signed = (part.split("=")[1] for part in headers["x-atrium-signature"].split(","))
        assert hmac.compare_digest(
            signed, hmac.new(b"s" * 16, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        )
        asked.append((method, path, json.loads(body)))
        if asked[-1][2]["act"] == "scale":
            return 204, b""
        if asked[-1][2]["pool"] != "gpu":
            return 200, {"engines": None}
        return 200, {"engines": [{"url": "http://h:1/v1", "model": "m", "ready": True}]}

    with served(answer) as url:
        scaler = WebhookScaler(url=f"{url}/hook?x=1", secret="s" * 16)
        fleet = await scaler.observe("gpu")
        assert fleet is not None
        assert [(each.url, each.ready) for each in fleet.engines] == [("http://h:1/v1", True)]
        assert await scaler.observe("other") is None
        await scaler.scale("gpu", 3, ("http://h:1/v1",))
    assert asked[-1] == (
        "POST",
        "/hook?x=1",
        {"act": "scale", "pool": "gpu", "desired": 3, "leaving": ["http://h:1/v1"]},
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {}),
        (302, {}),
        (200, b"not json"),
        (200, {"engines": [{"url": 5}]}),
        (200, {"engines": [{"url": "http://h:1/v1", "model": "m"}] * 1001}),
        (200, b"[" + b"0," * 3_000_000 + b"0]"),
    ],
)
async def test_a_webhook_that_answers_rubbish_is_told(status: int, body: Any) -> None:
    with served(lambda *_: (status, body)) as url, pytest.raises(UpstreamFailed):
        await WebhookScaler(url=url, secret="s" * 16).observe("gpu")


async def test_a_webhook_that_does_not_answer_is_away() -> None:
    with pytest.raises(Unavailable):
        await WebhookScaler(url="http://127.0.0.1:1/", secret="s" * 16).observe("gpu")
