"""Change nudges over Redis pub/sub."""

import asyncio

import redis
import redis.asyncio
import structlog

from kernel.cancelling import hearing

log = structlog.get_logger(__name__)

CHANNEL = "atrium:changes"
# Nudges that one look at the log answers together.
MOST_TOGETHER = 1_000


class RedisChangeNudge:
    """One pub/sub channel for all processes; a broken connection is reopened at the next wait."""

    def __init__(self, *, url: str, timeout_s: float = 1.0) -> None:
        """`url` is the state instance of Redis; each send takes `timeout_s` at most."""
        self._url = url
        self._timeout_s = timeout_s
        self._sender = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._subscription: redis.asyncio.client.PubSub | None = None

    def send(self) -> None:
        """Publish; a Redis that is away is logged and the poll interval serves."""
        try:
            self._sender.publish(CHANNEL, b"1")
        except redis.RedisError as error:
            log.warning("change_nudge_failed", error=str(error))

    async def wait(self, timeout_s: float) -> None:
        """Return at the next message, at the latest after `timeout_s`; those that came with it are taken too."""
        try:
            subscription = await self._subscribed()
            await subscription.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
            for _ in range(MOST_TOGETHER):
                if await subscription.get_message(timeout=0) is None:
                    break
        except (redis.RedisError, OSError) as error:
            log.warning("change_nudge_lost", error=str(error))
            self._subscription = None
            await asyncio.sleep(timeout_s)

    async def close(self) -> None:
        """Close both connections."""
        if self._subscription is not None:
            await self._subscription.aclose()  # type: ignore[no-untyped-call]
        self._sender.close()

    async def _subscribed(self) -> redis.asyncio.client.PubSub:
        if self._subscription is None:
            client = hearing(redis.asyncio.Redis.from_url(self._url, socket_connect_timeout=self._timeout_s))
            subscription = client.pubsub()
            await subscription.subscribe(CHANNEL)
            self._subscription = subscription
        return self._subscription
