"""The part of Kubernetes' API that tells of EndpointSlices, on loopback: lists in pages, and watches that are written by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from fakes.live_server import free_port


class KubernetesApi:
    """`slices` are what a list answers; what is put into `events` is told to the watch that is open; None ends it."""

    def __init__(self) -> None:
        """No slices, and everybody is let in."""
        self.slices: list[dict[str, Any]] = []
        self.version = 10
        self.status = 200
        self.watch_status = 200
        self.page = 1_000
        self.events: asyncio.Queue[dict[str, Any] | bytes | None] = asyncio.Queue()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.tokens: list[str] = []
        self.url = ""

    @property
    def watches(self) -> list[dict[str, str]]:
        """What the watches asked for."""
        return [query for _, query in self.asked if "watch" in query]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A list or a watch."""
        self.asked.append((request.path, dict(request.query)))
        self.tokens.append(request.headers.get("authorization", ""))
        if "watch" in request.query:
            return await self._watch(request)
        if self.status != 200:
            return web.json_response({"kind": "Status", "code": self.status}, status=self.status)
        begin = int(request.query.get("continue") or 0)
        end = begin + self.page
        metadata = {
            "resourceVersion": str(self.version),
            "continue": str(end) if end < len(self.slices) else "",
        }
        return web.json_response(
            {"kind": "EndpointSliceList", "metadata": metadata, "items": self.slices[begin:end]}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.watch_status != 200:
            return web.json_response({"kind": "Status", "code": self.watch_status}, status=self.watch_status)
        stream = web.StreamResponse()
        await stream.prepare(request)
        while (event := await self.events.get()) is not None:
            await stream.write(event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n")
            if isinstance(event, dict) and event["type"] == "ERROR":
                break
        return stream


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    """An endpoint as the API tells it, the pod being named after its address."""
    return {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False, **conditions},
        "targetRef": {"kind": "Pod", "name": f"pod-{address}", "uid": f"uid-{address}"},
        "nodeName": "node-1",
        "zone": "a",
    }


def endpoint_slice(name: str, *endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A slice as the API tells it."""
    return {
        "metadata": {"name": name, "resourceVersion": "11", "labels": {"kubernetes.io/service-name": "vllm"}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        **more,
    }


@asynccontextmanager
async def kubernetes_api() -> AsyncIterator[KubernetesApi]:
    """A running one."""
    api = KubernetesApi()
    application = web.Application()
    application.router.add_get("/apis/{rest:.*}", api.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    api.url = f"http://127.0.0.1:{port}"
    try:
        yield api
    finally:
        api.events.put_nowait(None)
        await runner.cleanup()
