"""The usage spool in a Redis stream, for any number of machines; files where Redis is away."""

import asyncio
import secrets
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError

from kernel.cancelling import hearing
from kernel.errors import Unavailable
from kernel.streams import Supervisor
from tenants.spooling import SpoolReader, SpoolWriter, decode_entry, encode_entry
from tenants.types import SpoolBacklog, SpoolEntry

log = structlog.get_logger(__name__)

STREAM = "atrium:usage"
GROUP = "ledger"
FIELD = b"e"
# Entries that a drainer took and did not confirm for this long are another drainer's to take.
CLAIM_AFTER_MS = 30_000
# A drainer's name is forgotten when it held nothing and was silent for this long.
FORGET_CONSUMER_MS = 3_600_000
# Tells one life of the stream from the next: a Redis that was emptied has another one.
MARK = "atrium:usage:mark"
# What was given to Redis so lately is kept, for it may come back without it: seconds, and entries.
RECENT_S = 10.0
MOST_RECENT = 20_000
RESEND_BATCH = 500
RESEND_EVERY_S = 1.0
# Entries read at once by who only looks.
LOOK_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """What `take` gave: entries, and the ids in the stream that confirming deletes."""

    entries: tuple[SpoolEntry, ...]
    ids: tuple[bytes, ...] = ()


class RedisUsageSpool:
    """One stream for the installation, read by a consumer group and trimmed as it is confirmed.

    All appends of one tick of the loop go in one pipeline. When Redis does not take them they go into files of the
    machine, and from there into the stream once it is back: a repeated entry counts once in the ledger. To a Redis that
    was emptied, or started anew, what it was given in the last seconds is given again.
    """

    def __init__(self, *, url: str, fallback_directory: str, timeout_s: float = 1.0) -> None:
        """Connects at first use. Each call to Redis takes `timeout_s` at most."""
        self._redis = hearing(
            redis.asyncio.Redis.from_url(
                url,
                protocol=2,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                # A connection that was closed meanwhile is made anew; who has waited for the timeout does not wait again.
                retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            )
        )
        self._consumer = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._files = SpoolWriter(Path(fallback_directory))
        self._leftovers = SpoolReader(Path(fallback_directory))
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._tasks = Supervisor(limit=64, on_error=_report)
        self._sending: asyncio.Task[None] | None = None
        self._resending: asyncio.Task[None] | None = None
        self._checked_leftovers = False
        # Redis did not take it, and no resending has found it again: entries go into files at once meanwhile.
        self._away = False
        self._held: StreamBatch | None = None
        self._group_made = False
        self._recent: deque[tuple[float, bytes]] = deque(maxlen=MOST_RECENT)
        self._known = ""
        self._watching: asyncio.Task[None] | None = None

    async def append(self, entry: SpoolEntry) -> None:
        """In Redis, or in a file, before returning. Raises Unavailable when neither takes it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        future.add_done_callback(_look_at)
        self._waiting.append((encode_entry(entry), future))
        if self._sending is None or self._sending.done():
            self._sending = self._tasks.start("usage_append", self._send_waiting())
        # The entry goes its way even if the one who waits for it is cancelled.
        await asyncio.shield(future)

    async def take(self, limit: int) -> StreamBatch:
        """Up to `limit` entries: what dead drainers held first, then new ones. Raises Unavailable.

        What was taken and not confirmed is given again.
        """
        self._start_resending()
        if self._held is not None:
            return self._held
        try:
            pairs = await self._read(limit)
        except (RedisError, OSError) as error:
            raise Unavailable("Redis is not reachable.") from error
        self._held = _batch(pairs) if pairs else None
        return self._held or StreamBatch(())

    async def confirm(self, batch: StreamBatch) -> None:
        """Delete the entries of `batch` from the stream. Raises Unavailable."""
        if batch.ids:
            try:
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.xack(STREAM, GROUP, *batch.ids)
                    pipe.xdel(STREAM, *batch.ids)
                    await pipe.execute()
            except (RedisError, OSError) as error:
                raise Unavailable("Redis is not reachable.") from error
        self._held = None

    async def backlog(self) -> SpoolBacklog:
        """What is in the stream, and in this machine's files while Redis was away. Raises Unavailable."""
        try:
            length = await self._redis.xlen(STREAM)
            first: Any = await self._redis.xrange(STREAM, count=1)
        except (RedisError, OSError) as error:
            raise Unavailable("Redis is not reachable.") from error
        files = await asyncio.to_thread(self._leftovers.backlog)
        oldest = time.time() - int(first[0][0].split(b"-")[0]) / 1000 if first else 0.0
        return SpoolBacklog(length + files.entries, max(oldest, files.oldest_s, 0.0))

    async def waiting(self) -> list[SpoolEntry]:
        """The stream, and this machine's files while Redis was away. Raises Unavailable."""
        found: list[SpoolEntry] = list(await asyncio.to_thread(self._leftovers.waiting))
        start = "-"
        try:
            while True:
                pairs: Any = await self._redis.xrange(STREAM, min=start, count=LOOK_BATCH)
                if not pairs:
                    break
                found += _batch(pairs).entries
                start = f"({pairs[-1][0].decode()}"
        except (RedisError, OSError) as error:
            raise Unavailable("Redis is not reachable.") from error
        return found

    async def close(self) -> None:
        """Send what waits, then close files and connections."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
        await self._tasks.close()
        self._files.close()
        self._leftovers.close()
        await self._redis.aclose()

    async def _send_waiting(self) -> None:
        # One tick: whoever appends in it goes with this pipeline.
        await asyncio.sleep(0)
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                await self._send(waiting)
            finally:
                for _, future in waiting:
                    _resolve(future, Unavailable("The usage spool was closed."))

    async def _send(self, waiting: Sequence[tuple[bytes, asyncio.Future[None]]]) -> None:
        if not self._away and await self._to_redis([line for line, _ in waiting]):
            now = asyncio.get_running_loop().time()
            for line, future in waiting:
                self._recent.append((now, line))
                _resolve(future, None)
            if self._watching is None or self._watching.done():
                self._watching = self._tasks.start("usage_watch", self._watch_redis())
        else:
            self._checked_leftovers = False
            for line, future in waiting:
                _resolve(future, self._to_file(line))
        if not self._checked_leftovers:
            self._start_resending()

    def _to_file(self, line: bytes) -> Unavailable | None:
        try:
            self._files.write(line)
        except Unavailable as error:
            return error
        return None

    async def _to_redis(self, lines: Sequence[bytes]) -> bool:
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for line in lines:
                    pipe.xadd(STREAM, {FIELD: line})
                await pipe.execute()
        except (RedisError, OSError) as error:
            self._away = True
            log.warning("usage_stream_away", error=str(error), entries=len(lines))
            return False
        self._away = False
        return True

    async def _look_for_redis(self) -> None:
        with suppress(RedisError, OSError):
            await self._redis.ping()
            self._away = False

    async def _watch_redis(self) -> None:
        """While something was given to Redis of late: give it again when Redis is not the one that took it."""
        while self._recent:
            await asyncio.sleep(RESEND_EVERY_S)
            try:
                found = await self._identity()
            except (RedisError, OSError):
                # Nothing is forgotten before it is known that Redis still has it.
                continue
            if self._known and found != self._known:
                log.warning("usage_stream_lost", entries=len(self._recent))
                await self._give_again([line for _, line in self._recent])
            self._known = found
            oldest = asyncio.get_running_loop().time() - RECENT_S
            while self._recent and self._recent[0][0] < oldest:
                self._recent.popleft()

    async def _identity(self) -> str:
        """What stands for this life of the stream: of the server, and of what is in it."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(MARK, secrets.token_hex(8), nx=True)
            pipe.get(MARK)
            pipe.info("server")
            _, mark, server = await pipe.execute()
        return f"{mark.decode() if mark else ''} {server['run_id']}"

    async def _give_again(self, lines: Sequence[bytes]) -> None:
        for at in range(0, len(lines), RESEND_BATCH):
            batch = lines[at : at + RESEND_BATCH]
            if not await self._to_redis(batch):
                self._checked_leftovers = False
                for line in batch:
                    self._to_file(line)
        if not self._checked_leftovers:
            self._start_resending()

    def _start_resending(self) -> None:
        if self._resending is None or self._resending.done():
            self._resending = self._tasks.start("usage_resend", self._resend_leftovers())

    async def _resend_leftovers(self) -> None:
        """Bring the machine's files into the stream, until none is left."""
        self._checked_leftovers = True
        while True:
            try:
                batch = await asyncio.to_thread(self._leftovers.take, RESEND_BATCH)
                if not batch.busy and not batch.offsets:
                    return
                if batch.busy:
                    # Another process of this machine sends them.
                    await self._look_for_redis()
                elif await self._to_redis([encode_entry(each) for each in batch.entries]):
                    # Our own open file is let go of, so that it can be finished and deleted.
                    self._files.close()
                    await asyncio.to_thread(self._leftovers.confirm, batch)
                    log.info("usage_resent", entries=len(batch.entries))
                    continue
            except OSError as error:
                log.warning("usage_leftovers_unreadable", error=str(error))
            await asyncio.sleep(RESEND_EVERY_S)

    async def _read(self, limit: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        for attempt in range(2):
            try:
                await self._ensure_group()
                claimed: Any = await self._redis.xautoclaim(
                    STREAM, GROUP, self._consumer, CLAIM_AFTER_MS, "0-0", count=limit
                )
                if claimed[1]:
                    return list(claimed[1])
                found: Any = await self._redis.xreadgroup(GROUP, self._consumer, {STREAM: ">"}, count=limit)
                return list(found[0][1]) if found else []
            except ResponseError as error:
                # Redis was emptied: stream and group are gone.
                if attempt or "NOGROUP" not in str(error):
                    raise
                self._group_made = False
        return []

    async def _ensure_group(self) -> None:
        if self._group_made:
            return
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            await self._forget_consumers()
        self._group_made = True

    async def _forget_consumers(self) -> None:
        for consumer in await self._redis.xinfo_consumers(STREAM, GROUP):
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_CONSUMER_MS:
                await self._redis.xgroup_delconsumer(STREAM, GROUP, consumer["name"])


def _batch(pairs: Sequence[tuple[bytes, dict[bytes, bytes] | None]]) -> StreamBatch:
    entries = []
    for number, fields in pairs:
        line = (fields or {}).get(FIELD, b"")
        try:
            entries.append(decode_entry(line))
        except ValueError as error:
            log.error(
                "usage_line_rejected",
                id=number.decode(),
                reason=str(error),
                line=line[:500].decode("latin-1"),
            )
    return StreamBatch(tuple(entries), tuple(number for number, _ in pairs))


def _resolve(future: "asyncio.Future[None]", error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _look_at(future: "asyncio.Future[None]") -> None:
    # Nobody may be left to hear of a failure; it is logged where it happens.
    if not future.cancelled():
        future.exception()


def _report(name: str, error: BaseException) -> None:
    log.error("usage_spool_task_failed", task=name, error=str(error))
