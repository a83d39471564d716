"""The run log of the full profile: a Redis stream per run, read, stopped and taken over by any process.

Keys of a run share the hash tag `{run id}`: `…:log` is the stream, whose entry ids are `<seq>-0`; `…:meta` holds
`seq`, `bytes`, `stop`, `end`, and `mark` and `marked`, the last write that had a mark and its seq; `…:lease` names the owner and expires. Each step is one script, so that `seq` has no
gaps and nothing follows the end. A run's keys expire ten minutes after its end, or half an hour after its last sign of
life.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakValueDictionary

import orjson
import redis.asyncio
from redis.exceptions import RedisError

from assistants.adapters.redis_bells import GROWN_CHANNEL, STOP_CHANNEL, Bells
from assistants.errors import RunFinished, RunTaken, RunTooLong
from assistants.types import RunEvent
from kernel.cancelling import hearing
from kernel.errors import NotFound, Unavailable

LEASE_MS = 3_500
KEEP_S = 600
ALIVE_S = 1_800
# A run that nobody held for so long has lost its owner, and no sweep has ended it yet.
ORPHANED_S = 10.0
POLL_S = 1.0
BATCH = 100

# KEYS log, meta, lease; ARGV body, is_end, run_bytes, keep_s, channel, mark.
# Returns seq, or -1 finished, -2 full, -3 gone.
_ADD = """
local state = redis.call('HMGET', KEYS[2], 'seq', 'bytes', 'end', 'mark', 'marked')
if not state[1] then return -3 end
if ARGV[6] ~= '' and state[4] == ARGV[6] then return tonumber(state[5]) end
if state[3] then if ARGV[2] == '1' then return tonumber(state[1]) end return -1 end
if ARGV[2] ~= '1' and tonumber(state[2]) + #ARGV[1] > tonumber(ARGV[3]) then return -2 end
local seq = redis.call('HINCRBY', KEYS[2], 'seq', 1)
redis.call('HINCRBY', KEYS[2], 'bytes', #ARGV[1])
redis.call('XADD', KEYS[1], seq .. '-0', 'b', ARGV[1], 'e', ARGV[2])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], 'mark', ARGV[6], 'marked', seq) end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[2], 'end', '1')
  redis.call('DEL', KEYS[3])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[5], seq)
return seq
"""

# KEYS log, meta, lease; ARGV owner, lease_ms, alive_s. Returns 1, 0 when taken, -1 when finished.
_CLAIM = """
if redis.call('HEXISTS', KEYS[2], 'end') == 1 then return -1 end
if not redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
redis.call('HSETNX', KEYS[2], 'seq', 0)
redis.call('HSETNX', KEYS[2], 'bytes', 0)
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""

# KEYS log, meta, lease; ARGV owner, lease_ms, alive_s. Returns 1 held, 2 held and asked to stop, 0 lost.
_RENEW = """
local owner = redis.call('GET', KEYS[3])
if owner and owner ~= ARGV[1] then return 0 end
local state = redis.call('HMGET', KEYS[2], 'seq', 'end', 'stop')
if not state[1] or state[2] then return 0 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if state[3] then return 2 end
return 1
"""

# KEYS log, meta, lease; ARGV owner.
_RELEASE = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[3])
if redis.call('HGET', KEYS[2], 'seq') == '0' then redis.call('DEL', KEYS[2]) end
return 1
"""

# KEYS log, meta, lease; ARGV channel, run id. Returns 0 when there is no such run.
_STOP = """
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('HSET', KEYS[2], 'stop', '1')
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
"""


class RedisRunLog:
    """A pool of connections for commands and one connection for bells, per process and event loop."""

    def __init__(self, *, url: str, run_bytes: int = 4 * 1024 * 1024, connections: int = 32) -> None:
        """`url` is the state instance of Redis; at most `run_bytes` of events per run."""
        self._client = hearing(
            redis.asyncio.Redis.from_pool(
                redis.asyncio.BlockingConnectionPool.from_url(
                    url, max_connections=connections, timeout=2, socket_timeout=5, socket_connect_timeout=2
                )
            )
        )
        self._run_bytes = run_bytes
        self._add_script = self._client.register_script(_ADD)
        self._claim_script = self._client.register_script(_CLAIM)
        self._renew_script = self._client.register_script(_RENEW)
        self._release_script = self._client.register_script(_RELEASE)
        self._stop_script = self._client.register_script(_STOP)
        self._claims: WeakValueDictionary[uuid.UUID, RedisRunClaim] = WeakValueDictionary()
        listening = hearing(redis.asyncio.Redis.from_url(url, socket_connect_timeout=2))
        self._bells = Bells(listening, self._stop_claim)

    async def append(self, run_id: uuid.UUID, body: Mapping[str, Any], *, mark: str = "") -> int:
        """Add an event, unless it has the last mark; returns its `seq`.

        Raises RunFinished, RunTooLong, NotFound, Unavailable: then it is there or not.
        """
        return await self._add(run_id, body, end="0", mark=mark)

    async def finish(self, run_id: uuid.UUID, body: Mapping[str, Any]) -> int:
        """Add the last event and close the log; returns its `seq`. Raises NotFound, Unavailable."""
        return await self._add(run_id, body, end="1")

    async def read_from(self, run_id: uuid.UUID, last_seq: int) -> AsyncGenerator[RunEvent, None]:
        """The events after `last_seq` and those to come. Raises NotFound when the log is gone, Unavailable."""
        log_key, meta_key, lease_key = _keys(run_id)
        position = max(0, last_seq)
        quiet_s = 0.0
        with self._bells.following(run_id) as bell:
            looked = False
            while True:
                rung = bell.rung
                entries = await self._entries(log_key, position, BATCH)
                for event, is_end in entries:
                    position = event.seq
                    yield event
                    if is_end:
                        return
                if entries:
                    quiet_s = 0.0
                    continue
                # Silence: at first, and again after each second of it, see whether anything is to come.
                if not looked or not await _rings(rung):
                    finished, held = await self._look(meta_key, lease_key, position)
                    quiet_s = 0.0 if held else quiet_s + POLL_S * looked
                    if finished or quiet_s >= ORPHANED_S:
                        return
                    looked = True

    async def stop(self, run_id: uuid.UUID) -> None:
        """Ask the owner, wherever it is, to stop. Raises NotFound, Unavailable."""
        with _talking():
            found = await self._stop_script(keys=_keys(run_id), args=[STOP_CHANNEL, str(run_id)])
        if not found:
            raise NotFound

    async def claim(self, run_id: uuid.UUID, owner: str) -> "RedisRunClaim":
        """Own the run for a few seconds. Raises RunTaken, RunFinished, Unavailable."""
        self._bells.start()
        with _talking():
            held = await self._claim_script(keys=_keys(run_id), args=[owner, LEASE_MS, ALIVE_S])
        if held != 1:
            raise RunTaken if held == 0 else RunFinished
        claim = RedisRunClaim(self, run_id, owner)
        self._claims[run_id] = claim
        return claim

    async def close(self) -> None:
        """Close all connections."""
        await self._bells.close()
        await self._client.aclose()

    async def renew(self, run_id: uuid.UUID, owner: str) -> int:
        """Extend the lease: 0 lost, 1 held, 2 held and asked to stop. Raises Unavailable."""
        with _talking():
            return int(await self._renew_script(keys=_keys(run_id), args=[owner, LEASE_MS, ALIVE_S]))

    async def release(self, run_id: uuid.UUID, owner: str) -> None:
        """End the lease. Raises Unavailable."""
        with _talking():
            await self._release_script(keys=_keys(run_id), args=[owner])

    async def events_so_far(self, run_id: uuid.UUID) -> tuple[RunEvent, ...]:
        """All events that the log holds now. Raises Unavailable."""
        return tuple(event for event, _ in await self._entries(_keys(run_id)[0], 0, None))

    async def _entries(self, log_key: str, position: int, count: int | None) -> list[tuple[RunEvent, bool]]:
        """Events after `position`, and whether each is the last of its run."""
        with _talking():
            found: Any = await self._client.xrange(log_key, min=f"{position + 1}-0", count=count)
        return [
            (RunEvent(int(entry_id.split(b"-")[0]), orjson.loads(fields[b"b"])), fields[b"e"] == b"1")
            for entry_id, fields in found
        ]

    async def _add(self, run_id: uuid.UUID, body: Mapping[str, Any], *, end: str, mark: str = "") -> int:
        arguments: list[bytes | str | int] = [
            orjson.dumps(body),
            end,
            self._run_bytes,
            KEEP_S if end == "1" else ALIVE_S,
            f"{GROWN_CHANNEL}{run_id}",
            mark,
        ]
        with _talking():
            seq = int(await self._add_script(keys=_keys(run_id), args=arguments))
        if seq < 0:
            raise {-1: RunFinished, -2: RunTooLong, -3: NotFound}[seq]
        return seq

    async def _look(self, meta_key: str, lease_key: str, position: int) -> tuple[bool, bool]:
        """(finished, held). Raises NotFound when the log is gone, or is another one than was read so far."""
        with _talking():
            seq, end = await cast(Any, self._client.hmget(meta_key, ["seq", "end"]))
            held = bool(await self._client.exists(lease_key))
        # An emptied Redis has no state; one that was emptied and refilled counts from one again.
        if seq is None or int(seq) < position:
            raise NotFound
        return end is not None, held

    def _stop_claim(self, run_id: uuid.UUID) -> None:
        claim = self._claims.get(run_id)
        if claim is not None:
            claim.stop.set()


class RedisRunClaim:
    """The owner's hold on a run."""

    def __init__(self, logs: RedisRunLog, run_id: uuid.UUID, owner: str) -> None:
        """Made by `RedisRunLog.claim`."""
        self._logs = logs
        self._run_id = run_id
        self._owner = owner
        self.stop = asyncio.Event()

    async def stop_asked(self) -> None:
        """Return once a stop was asked; a lost bell is made good by the next renewal."""
        await self.stop.wait()

    async def renew(self) -> bool:
        """Hold the run for a few more seconds; False when it was taken away. Raises Unavailable."""
        held = await self._logs.renew(self._run_id, self._owner)
        if held == 2:
            self.stop.set()
        return held > 0

    async def release(self) -> None:
        """Let the run go. Raises Unavailable."""
        await self._logs.release(self._run_id, self._owner)

    async def events_so_far(self) -> tuple[RunEvent, ...]:
        """All events that the log holds now. Raises Unavailable."""
        return await self._logs.events_so_far(self._run_id)


def _keys(run_id: uuid.UUID) -> list[str]:
    prefix = f"atrium:run:{{{run_id}}}"
    return [f"{prefix}:log", f"{prefix}:meta", f"{prefix}:lease"]


async def _rings(rung: asyncio.Event) -> bool:
    """Whether the bell rang within the poll interval."""
    try:
        async with asyncio.timeout(POLL_S):
            await rung.wait()
    except TimeoutError:
        return False
    return True


@contextmanager
def _talking() -> Iterator[None]:
    """Redis that is away, or slow, is Unavailable to our callers."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable("The log of running answers is not reachable.", retry_after_s=1.0) from error
