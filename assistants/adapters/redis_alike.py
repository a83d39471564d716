"""Answers by their questions in Redis, for all processes of the installation.

A shelf is three keys: its questions, its answers, and when each ends. A tenant has one list of its shelves, which scripts
keep within bounds. All keys of a tenant carry its tag. Like the other cache it is never waited for long: while Redis is
away, every question is a new one.
"""

import time
from collections.abc import Awaitable, Mapping
from typing import Any, cast

import redis.asyncio
import structlog
from redis.exceptions import MaxConnectionsError, RedisError, ResponseError

from assistants.ports import MOST_QUESTIONS, MOST_SHELVES, MOST_TENANT_SHELVES
from assistants.types import Shelf
from kernel.cache_clients import cache_client

log = structlog.get_logger(__name__)

CONNECTIONS = 50
# Until Redis answers again it is not asked for this long.
AWAY_S = 2.0

# KEYS: questions, ends. Returns names and questions that have not ended, one after the other.
_QUESTIONS = """
local now = tonumber(redis.call('TIME')[1])
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')
if #names == 0 then return {} end
local found = redis.call('HMGET', KEYS[1], unpack(names))
local told = {}
for at, name in ipairs(names) do
  if found[at] then told[#told + 1] = name; told[#told + 1] = found[at] end
end
return told
"""

# KEYS: answers, ends. ARGV: name.
_ANSWER = """
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not ends or tonumber(ends) <= tonumber(redis.call('TIME')[1]) then return false end
return redis.call('HGET', KEYS[1], ARGV[1])
"""

# KEYS: shelves, questions, answers, ends. ARGV: name, question, answer, seconds, shelf, assistant, base of the tenant's
# keys, most questions, most shelves of the assistant, of the tenant.
_PUT = """
local now = tonumber(redis.call('TIME')[1])
local seconds = tonumber(ARGV[4])
-- Its own name may be there and over: then it is not one of those that go.
redis.call('ZREM', KEYS[4], ARGV[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now)
redis.call('ZADD', KEYS[4], now + seconds, ARGV[1])
local count = redis.call('ZCARD', KEYS[4]) - #gone
if count > tonumber(ARGV[8]) then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[4], #gone, #gone + count - tonumber(ARGV[8]))) do
    if name ~= ARGV[1] and count > tonumber(ARGV[8]) then gone[#gone + 1] = name; count = count - 1 end
  end
end
for _, name in ipairs(gone) do
  redis.call('ZREM', KEYS[4], name)
  redis.call('HDEL', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
for at = 2, 4 do
  if redis.call('TTL', KEYS[at]) < seconds then redis.call('EXPIRE', KEYS[at], seconds) end
end
local order = redis.call('INCR', ARGV[7] .. ':order')
redis.call('ZADD', KEYS[1], order, ARGV[5])
for _, key in ipairs({KEYS[1], ARGV[7] .. ':order'}) do
  if redis.call('TTL', key) < seconds then redis.call('EXPIRE', key, seconds) end
end
local shelves = redis.call('ZRANGE', KEYS[1], 0, -1)
local own, all = 0, #shelves
for _, shelf in ipairs(shelves) do
  if string.sub(shelf, 1, #ARGV[6]) == ARGV[6] then own = own + 1 end
end
for _, shelf in ipairs(shelves) do
  local mine = string.sub(shelf, 1, #ARGV[6]) == ARGV[6]
  if all > tonumber(ARGV[10]) or (mine and own > tonumber(ARGV[9])) then
    redis.call('ZREM', KEYS[1], shelf)
    for _, part in ipairs({':questions', ':answers', ':ends'}) do redis.call('DEL', ARGV[7] .. ':' .. shelf .. part) end
    all = all - 1
    if mine then own = own - 1 end
  end
end
return 1
"""

# KEYS: shelves. ARGV: base of the tenant's keys.
_FORGET = """
for _, shelf in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  for _, part in ipairs({':questions', ':answers', ':ends'}) do redis.call('DEL', ARGV[1] .. ':' .. shelf .. part) end
end
redis.call('DEL', KEYS[1], ARGV[1] .. ':order')
return 1
"""


class RedisSemanticCache:
    """The semantic cache of the full profile, in the instance that may lose what it holds."""

    def __init__(self, *, url: str) -> None:
        """`url` is the cache instance of Redis."""
        self._redis = cache_client(redis.asyncio.Redis, url, connections=CONNECTIONS)
        self._scripts = {
            name: self._redis.register_script(text)
            for name, text in (
                ("questions", _QUESTIONS), ("answer", _ANSWER), ("put", _PUT), ("forget", _FORGET),
            )
        }  # fmt: skip
        self._away_until = 0.0
        self._said_until = 0.0

    async def questions(self, shelf: Shelf) -> Mapping[str, bytes]:
        """The questions on the shelf by their names; none while Redis is away."""
        at = _place(shelf)
        told = await self._ask("questions", [f"{at}:questions", f"{at}:ends"], [])
        if not isinstance(told, list):
            return {}
        return {name.decode(): question for name, question in zip(told[::2], told[1::2], strict=False)}

    async def answer(self, shelf: Shelf, name: str) -> bytes | None:
        """The answer to the question of this name; None while Redis is away."""
        at = _place(shelf)
        found = await self._ask("answer", [f"{at}:answers", f"{at}:ends"], [name])
        return found if isinstance(found, bytes) else None

    async def put(self, shelf: Shelf, name: str, question: bytes, answer: bytes, seconds: int) -> None:
        """Keep both, in place of what was there under the name; they are dropped while Redis is away."""
        base, at = _base(shelf.tenant), _place(shelf)
        await self._ask(
            "put",
            [f"{base}:shelves", f"{at}:questions", f"{at}:answers", f"{at}:ends"],
            [
                name, question, answer, seconds, f"{shelf.assistant}:{shelf.key}", f"{shelf.assistant}:", base,
                MOST_QUESTIONS, MOST_SHELVES, MOST_TENANT_SHELVES,
            ],
        )  # fmt: skip

    async def forget(self, tenant: str) -> None:
        """Drop what is kept for the tenant."""
        await self._ask("forget", [f"{_base(tenant)}:shelves"], [_base(tenant)])

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, script: str, keys: list[str], values: list[Any]) -> object:
        if time.monotonic() < self._away_until:
            return None
        try:
            return await cast(Awaitable[object], self._scripts[script](keys=keys, args=values))
        except (RedisError, OSError, TimeoutError) as error:
            self._gone(error)
            return None

    def _gone(self, error: Exception) -> None:
        now = time.monotonic()
        # Too many at once, or a refusal (no memory left): it is there, and the next question may be found.
        if not isinstance(error, ResponseError | MaxConnectionsError):
            self._away_until = now + AWAY_S
        if now >= self._said_until:
            self._said_until = now + AWAY_S
            log.warning("semantic_cache_away", error=str(error))


def _base(tenant: str) -> str:
    return f"atrium:alike:{{{tenant}}}"


def _place(shelf: Shelf) -> str:
    return f"{_base(shelf.tenant)}:{shelf.assistant}:{shelf.key}"
