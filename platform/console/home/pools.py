"""Pools of engines on the first page."""

from typing import Any

from inference.services.live import list_live_pools


def pools_now() -> list[dict[str, Any]]:
    """All pools as they stand now, by name. Not to be called from a coroutine."""
    return [
        {
            "id": each.pool.id,
            "name": each.pool.name,
            "region": each.pool.region,
            "state": each.status.state,
            "up": each.status.healthy,
            "down": each.status.unhealthy,
            "draining": each.status.draining,
            "running": each.status.running,
            "waiting": each.status.waiting,
            "slots": each.status.slots,
        }
        for each in list_live_pools()
    ]
