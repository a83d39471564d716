"""What processes see of replicas, on a board in Redis: one hash, a field for each process."""

import uuid
from collections.abc import Sequence

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from kernel.cancelling import hearing
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Unavailable

KEY = "atrium:sightings"
TIMEOUT_S = 1.0
# Who has told nothing for so long is not heard, and a while later forgotten.
HEARD_S = 10.0
FORGOTTEN_S = 60.0


class RedisSightingBoard:
    """The board of the full profile. Clocks of machines may differ by a few seconds."""

    def __init__(self, *, url: str, clock: Clock = SYSTEM_CLOCK) -> None:
        """`url` is the state instance of Redis."""
        self._redis = hearing(
            redis.asyncio.Redis.from_url(
                url,
                max_connections=2,
                protocol=2,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._clock = clock
        self._name = uuid.uuid4().hex.encode()

    async def exchange(self, told: bytes) -> Sequence[bytes]:
        """Write this process's field, and read those of the others."""
        now = self._clock.now().timestamp()
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                if told:
                    pipeline.hset(KEY, self._name, b"%.3f %b" % (now, told))
                    pipeline.expire(KEY, int(FORGOTTEN_S))
                pipeline.hgetall(KEY)
                fields: dict[bytes, bytes] = (await pipeline.execute())[-1]
            ages, heard = {}, []
            for name, value in fields.items():
                at, _, rest = value.partition(b" ")
                ages[name] = abs(now - float(at))
                if name != self._name and ages[name] <= HEARD_S:
                    heard.append(rest)
            forgotten = [name for name, age in ages.items() if age > FORGOTTEN_S]
            if forgotten:
                await self._redis.hdel(KEY, *forgotten)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable from error
        return heard

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
