"""Kept answers in Redis, for all processes of the installation. Its memory is bounded by Redis' own `maxmemory`.

It is asked with every call that may be kept, so it is never waited for long: while Redis is away, every call is a miss.
"""

import time

import redis.asyncio
import structlog
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError

from kernel.cache_clients import cache_client

log = structlog.get_logger(__name__)

CONNECTIONS = 100
# Until Redis answers again it is not asked for this long.
AWAY_S = 2.0
PREFIX = "atrium:answers"
SCANNED_AT_ONCE = 500


class RedisResponseCache:
    """The response cache of the full profile, in the instance that may lose what it holds."""

    def __init__(self, *, url: str) -> None:
        """`url` is the cache instance of Redis."""
        self._redis = cache_client(redis.asyncio.Redis, url, connections=CONNECTIONS)
        self._away_until = 0.0
        self._said_until = 0.0

    async def get(self, tenant: str, key: str) -> bytes | None:
        """What is kept under `key` for the tenant; None while Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            found = await self._redis.get(_name(tenant, key))
        except (RedisError, OSError, TimeoutError) as error:
            self._gone(error)
            return None
        return found if isinstance(found, bytes) else None

    async def put(self, tenant: str, key: str, value: bytes, seconds: int) -> None:
        """Keep `value`, in place of what was there; it is dropped while Redis is away."""
        if time.monotonic() < self._away_until:
            return
        try:
            await self._redis.set(_name(tenant, key), value, ex=seconds)
        except (RedisError, OSError, TimeoutError) as error:
            self._gone(error)

    async def forget(self, tenant: str) -> None:
        """Drop what is kept for the tenant."""
        try:
            names = [
                name
                async for name in self._redis.scan_iter(match=f"{PREFIX}:{tenant}:*", count=SCANNED_AT_ONCE)
            ]
            for at in range(0, len(names), SCANNED_AT_ONCE):
                await self._redis.unlink(*names[at : at + SCANNED_AT_ONCE])
        except (RedisError, OSError, TimeoutError) as error:
            self._gone(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _gone(self, error: Exception) -> None:
        now = time.monotonic()
        # Too many at once, or a refusal (no memory left): it is there, and the next call may be answered.
        if not isinstance(error, ResponseError | MaxConnectionsError):
            self._away_until = now + AWAY_S
        if now >= self._said_until:
            self._said_until = now + AWAY_S
            log.warning("response_cache_away", error=str(error))


def _name(tenant: str, key: str) -> str:
    return f"{PREFIX}:{tenant}:{key}"
