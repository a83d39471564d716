"""`/metrics`: all series of this server, for Prometheus. Told on this machine, or to who knows the metrics token.

A proxy on this machine opens nothing: what it forwards names somebody else, or comes under another host's name.
"""

import asyncio
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from config.seeing.sharing import forget_dead
from config.static import Receive, Scope, Send

# Whoever sends one of these speaks for somebody else.
FORWARDED = (
    b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via", b"x-forwarded-host", b"x-forwarded-proto",
    b"x-client-ip", b"cf-connecting-ip", b"true-client-ip",
)  # fmt: skip


class _Folders(Collector):
    """The series of this server's processes, and of workers that live beside it in the same home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Merged over all processes."""
        beside = self._folder.parent.glob("worker-*")
        folders = {self._folder, *(each for each in beside if each.is_dir())}
        for folder in folders:
            forget_dead(folder)
        files = [str(path) for folder in sorted(folders) for path in folder.glob("*.db")]
        found: Iterable[Metric] = MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return found


class Exposition:
    """The ASGI application of `/metrics`."""

    def __init__(self, folder: Path | None, *, token: str) -> None:
        """`folder` is where the processes share their series, None when there is but this one."""
        self._token = token.encode()
        self._registry = REGISTRY
        if folder is not None:
            self._registry = CollectorRegistry()
            self._registry.register(_Folders(folder))
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET of who may ask; 404 for everybody else."""
        headers = dict(scope["headers"])
        if scope["method"] not in ("GET", "HEAD") or not self._may_ask(scope, headers):
            await _answer(send, 404, b"application/json", b'{"status":"unknown"}')
            return
        encode, content_type = choose_encoder(headers.get(b"accept", b"").decode("latin-1"))
        # One at a time: reading the files of all processes takes the interpreter from the streams.
        async with self._turn:
            body = await asyncio.to_thread(encode, self._registry)
        await _answer(send, 200, content_type.encode(), body if scope["method"] == "GET" else b"")

    def _may_ask(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        scheme, _, offered = headers.get(b"authorization", b"").partition(b" ")
        if self._token and scheme.lower() == b"bearer" and hmac.compare_digest(offered.strip(), self._token):
            return True
        if any(name in headers for name in FORWARDED):
            return False
        return _is_loopback(str((scope.get("client") or ("",))[0])) and _is_local_name(
            headers.get(b"host", b"").decode("latin-1")
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_local_name(host: str) -> bool:
    """Whether `host`, with or without a port, names this machine to itself."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return name == "localhost" or _is_loopback(name)


async def _answer(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
