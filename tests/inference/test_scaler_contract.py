"""What every `Scaler` promises: over processes of this machine, Kubernetes, and a program behind a webhook."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fakes.answering import served
from fakes.live_server import free_port

from inference.adapters.kubernetes_scaler import DELETION_COST, KubernetesScaler
from inference.adapters.local_scaler import LocalScaler
from inference.adapters.webhook_scaler import WebhookScaler
from inference.fleets import Fleet
from inference.ports import Scaler
from kernel.errors import Unavailable, UpstreamFailed

POOL, MODEL = "gpu", "org/tiny"
ENGINE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Engine(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *args): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Engine).serve_forever()
"""
SETTLES_WITHIN_S = 60.0


class Deployment:
    """What Kubernetes does with a Deployment: pods come when replicas are asked for, and the cheapest to delete go first."""

    def __init__(self) -> None:
        self.replicas, self._made = 0, 0
        self.pods: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        place = urlsplit(path)
        if place.path.endswith("/deployments/vllm/scale"):
            if method == "PATCH":
                self.replicas = json.loads(body)["spec"]["replicas"]
                self._settle()
            return 200, {"spec": {"replicas": self.replicas}, "status": {"selector": "app=vllm"}}
        if method == "PATCH":
            noted = json.loads(body)["metadata"]["annotations"]
            self.pods[place.path.rpartition("/")[2]]["metadata"]["annotations"] |= noted
            return 200, {}
        assert parse_qs(place.query)["labelSelector"] == ["app=vllm"]
        return 200, {"items": list(self.pods.values())}

    def _settle(self) -> None:
        def cost(pod: Mapping[str, Any]) -> int:
            return int(pod["metadata"]["annotations"].get(DELETION_COST, 0))

        while len(self.pods) > self.replicas:
            del self.pods[min(self.pods, key=lambda name: cost(self.pods[name]))]
        while len(self.pods) < self.replicas:
            self._made += 1
            self.pods[f"vllm-{self._made}"] = {
                "metadata": {"name": f"vllm-{self._made}", "annotations": {}},
                "status": {
                    "podIP": f"10.0.0.{self._made}",
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }


class Program:
    """An operator's own program behind the webhook."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self._made = 0

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        asked = json.loads(body)
        if asked["pool"] != POOL:
            return 200, {"engines": None}
        if asked["act"] == "scale":
            going = sorted(self.urls, key=lambda url: url not in asked["leaving"])
            self.urls = going[max(0, len(going) - asked["desired"]) :]
            while len(self.urls) < asked["desired"]:
                self._made += 1
                self.urls.append(f"http://10.0.1.{self._made}:8000/v1")
            return 204, b""
        engines = [{"url": url, "model": MODEL, "ready": True} for url in self.urls]
        return 200, {"engines": engines, "model": MODEL}


def local(folder: Path) -> LocalScaler:
    first = free_port()
    said = {
        "command": [sys.executable, "-c", ENGINE, "{port}"],
        "model": MODEL,
        "ports": (first, first + 20),
    }
    return LocalScaler(pools={POOL: said}, folder=str(folder))


def kubernetes(url: str, folder: Path) -> KubernetesScaler:
    (folder / "token").write_text("tok")
    (folder / "namespace").write_text("ai")
    said = {"deployment": "vllm", "model": MODEL}
    return KubernetesScaler(pools={POOL: said}, api=url, account=str(folder), timeout_s=5.0)


def webhook(url: str) -> WebhookScaler:
    return WebhookScaler(url=url, secret="s" * 16, timeout_s=5.0)


@pytest.fixture(params=["local", "kubernetes", "webhook"])
async def scaler(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scaler]:
    async with AsyncExitStack() as stack:
        if request.param == "local":
            made = local(tmp_path)
            stack.push_async_callback(made.close)
            yield made
        elif request.param == "kubernetes":
            yield kubernetes(stack.enter_context(served(Deployment().answer)), tmp_path)
        else:
            yield webhook(stack.enter_context(served(Program().answer)))


async def settled(scaler: Scaler, count: int) -> Fleet:
    """The pool once so many engines are ready; asked for again meanwhile, as whoever decides does."""
    async with asyncio.timeout(SETTLES_WITHIN_S):
        while True:
            # Another program may have taken an engine's port just before it: the next try takes another one.
            with suppress(Unavailable):
                await scaler.scale(POOL, count, ())
            fleet = await scaler.observe(POOL)
            assert fleet is not None
            if sum(each.ready for each in fleet.engines) == count == len(fleet.engines):
                return fleet
            await asyncio.sleep(0.1)


def urls(fleet: Fleet) -> set[str]:
    return {each.url for each in fleet.engines}


async def test_a_pool_begins_with_nothing_and_says_what_it_would_serve(scaler: Scaler) -> None:
    fleet = await scaler.observe(POOL)
    assert fleet is not None
    assert (fleet.engines, fleet.model) == ((), MODEL)


async def test_a_pool_of_others_is_told_apart_and_left_alone(scaler: Scaler) -> None:
    assert await scaler.observe("other") is None
    await scaler.scale("other", 3, ())
    assert await scaler.observe("other") is None
    fleet = await scaler.observe(POOL)
    assert fleet is not None
    assert fleet.engines == ()


async def test_so_many_come_as_are_asked_for(scaler: Scaler) -> None:
    fleet = await settled(scaler, 2)
    assert len(urls(fleet)) == 2
    assert {each.model for each in fleet.engines} == {MODEL}
    assert all(each.url.startswith("http://") and each.url.endswith("/v1") for each in fleet.engines)


async def test_a_port_that_a_connection_goes_out_by_is_no_port_for_an_engine(tmp_path: Path) -> None:
    """Nobody answers there, and nobody can listen there."""
    with socket.socket() as listener, socket.socket() as taken:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken.bind(("127.0.0.1", 0))
        taken.connect(listener.getsockname())
        first = taken.getsockname()[1]
        said = {
            "command": [sys.executable, "-c", ENGINE, "{port}"],
            "model": MODEL,
            "ports": (first, first + 20),
        }
        made = LocalScaler(pools={POOL: said}, folder=str(tmp_path))
        try:
            await made.scale(POOL, 1, ())
            fleet = await made.observe(POOL)
        finally:
            await made.close()
    assert fleet is not None
    assert f":{first}/" not in urls(fleet).pop()


async def test_asking_again_for_the_same_changes_nothing(scaler: Scaler) -> None:
    before = urls(await settled(scaler, 2))
    for _ in range(3):
        await scaler.scale(POOL, 2, ())
    assert urls(await settled(scaler, 2)) == before


async def test_who_is_to_leave_leaves_and_the_others_stay(scaler: Scaler) -> None:
    before = urls(await settled(scaler, 3))
    leaving = sorted(before)[1]
    await scaler.scale(POOL, 2, (leaving,))
    assert urls(await settled(scaler, 2)) == before - {leaving}


async def test_to_nothing_and_back(scaler: Scaler) -> None:
    await settled(scaler, 1)
    await scaler.scale(POOL, 0, ())
    asleep = await settled(scaler, 0)
    assert asleep.model == MODEL
    assert len(urls(await settled(scaler, 1))) == 1


@pytest.mark.parametrize("kind", ["kubernetes", "webhook"])
async def test_who_starts_them_and_is_away_is_told_as_such(kind: str, tmp_path: Path) -> None:
    away = "http://127.0.0.1:1"
    scaler: Scaler = kubernetes(away, tmp_path) if kind == "kubernetes" else webhook(away)
    with pytest.raises(Unavailable):
        await scaler.observe(POOL)
    with pytest.raises(Unavailable):
        await scaler.scale(POOL, 1, ())


@pytest.mark.parametrize("kind", ["kubernetes", "webhook"])
async def test_who_starts_them_and_refuses_is_told_as_such(kind: str, tmp_path: Path) -> None:
    with served(lambda *_: (403, {})) as url:
        scaler: Scaler = kubernetes(url, tmp_path) if kind == "kubernetes" else webhook(url)
        with pytest.raises(UpstreamFailed):
            await scaler.observe(POOL)
        with pytest.raises(UpstreamFailed):
            await scaler.scale(POOL, 1, ())
