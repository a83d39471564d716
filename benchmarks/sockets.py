"""What an idle WebSocket costs in memory."""

import asyncio
from typing import Any

import websockets
from load_runs import resident_bytes

BATCH = 50


async def measure_idle_sockets(url: str, key: str, pid: int, *, count: int) -> dict[str, Any]:
    """Open `count` sockets to `url` (ws://…/ws/chat), let them idle, and compare the server's memory."""
    warm = [await _open(url, key) for _ in range(20)]
    await asyncio.sleep(1)
    before = resident_bytes(pid)
    sockets: list[websockets.ClientConnection] = []
    began = asyncio.get_running_loop().time()
    for start in range(0, count, BATCH):
        sockets += await asyncio.gather(*(_open(url, key) for _ in range(min(BATCH, count - start))))
    took = asyncio.get_running_loop().time() - began
    await asyncio.sleep(2)
    after = resident_bytes(pid)
    await asyncio.gather(*(socket.close() for socket in [*warm, *sockets]))
    return {
        "sockets": count,
        "connects_per_s": count / took,
        "server_rss_mb_before": before / 1e6,
        "server_rss_mb_after": after / 1e6,
        "kb_per_idle_socket": (after - before) / count / 1000,
    }


async def _open(url: str, key: str) -> websockets.ClientConnection:
    return await websockets.connect(
        url,
        subprotocols=[websockets.Subprotocol("atrium.v1"), websockets.Subprotocol(f"atrium.bearer.{key}")],
        compression=None,
        ping_interval=None,
        open_timeout=20,
    )
