"""Whether the counters' Redis is there, and whether it is the one that was known: an emptied one has another generation.

The generation is one key of its own. Whoever finds none writes a new one, with the time by Redis' clock. A process that
knew another one goes on within its own share until the new generation has `GRACE_MS` of age: in that time every process
tells what it settled, and brings what its files took of the usage spool back into the stream, so that seeds made from
ledger and spool afterwards miss nothing.
"""

import asyncio
import uuid
from typing import Any

import structlog

from kernel.scripts import ScriptPipeline

log = structlog.get_logger(__name__)

# Until Redis answers again it is not asked for this long: every call would wait for the timeout.
AWAY_S = 1.0
# Settlements are told again after half a second, files of the spool are sent again after one.
GRACE_MS = 2_500
KEY = "atrium:limits:generation"

# KEYS[1]: the marker. ARGV[1]: a new generation, should there be none. Returns the generation and its age in milliseconds.
GENERATION = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('GET', KEYS[1])
if not found then
  found = ARGV[1] .. '@' .. string.format('%.0f', now)
  redis.call('SET', KEYS[1], found)
end
local at = string.find(found, '@', 1, true)
return {string.sub(found, 1, at - 1), math.max(0, now - tonumber(string.sub(found, at + 1)))}
"""


class Presence:
    """What this process knows of its Redis: away or there, emptied or the same."""

    def __init__(self, calls: ScriptPipeline) -> None:
        """There, until it is found away."""
        self._calls = calls
        self._away_until = 0.0
        self._alone_until = 0.0
        self._generation = b""
        self.emptied = 0

    @property
    def known(self) -> bool:
        """Whether a generation was seen: only who knows one notices another."""
        return bool(self._generation)

    @property
    def away(self) -> bool:
        """Whether Redis did not answer just now, and is not asked for the moment."""
        return asyncio.get_running_loop().time() < self._away_until

    @property
    def alone(self) -> bool:
        """Whether this process counts by itself for now: Redis is away, or was emptied a moment ago."""
        return asyncio.get_running_loop().time() < max(self._away_until, self._alone_until)

    def note_away(self, error: BaseException) -> None:
        """Redis did not answer."""
        if not self.away:
            log.warning("counters_without_redis", error=str(error) or type(error).__name__)
        self._away_until = asyncio.get_running_loop().time() + AWAY_S

    async def look(self) -> None:
        """Compare the generation with the one that was known. Raises what makes Redis unreachable."""
        answer: list[Any] = await self._calls.send(GENERATION, KEY, uuid.uuid4().hex)
        found, age_ms = bytes(answer[0]), int(answer[1])
        if self._generation and found != self._generation:
            self.emptied += 1
            self._alone_until = asyncio.get_running_loop().time() + max(0, GRACE_MS - age_ms) / 1000
            log.warning("counters_emptied", generation=found.decode(), age_ms=age_ms)
        self._generation = found
