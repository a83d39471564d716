"""Usage over Redis when Redis dies, is emptied, or a drainer dies. Starts a Redis of its own.

Runs when ATRIUM_TEST_REDIS_URL is set, as the other tests against a real Redis do.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from factories.usage import make_entry

from tenants.adapters import redis_spool
from tenants.adapters.redis_spool import STREAM, RedisUsageSpool

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(
        not os.environ.get("ATRIUM_TEST_REDIS_URL") or shutil.which("redis-server") is None,
        reason="ATRIUM_TEST_REDIS_URL is not set, or there is no redis-server to start",
    ),
]


class OwnRedis:
    """A Redis that keeps what it acknowledged over a restart."""

    def __init__(self, directory: Path) -> None:
        """On a free port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start and wait until it answers."""
        options = ["--port", str(self.port), "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - starting a process takes no time worth a thread
            ["redis-server", *options, "--dir", str(self._directory), "--logfile", "redis.log"]
        )
        client = redis.asyncio.Redis.from_url(self.url)
        for _ in range(100):
            try:
                await client.ping()
                break
            except redis.exceptions.ConnectionError:
                await asyncio.sleep(0.05)
        await client.aclose()

    def hang(self) -> None:
        """It takes connections and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It answers again, also what it was asked meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OwnRedis]:
    """A running Redis."""
    own = OwnRedis(tmp_path)
    await own.start()
    yield own
    own.kill()


async def take_all(spool: RedisUsageSpool, expected: int) -> list[str]:
    """Ids of what is drained until `expected` are there, at the latest after five seconds."""
    found: list[str] = []
    for _ in range(100):
        batch = await spool.take(100)
        found += [str(each.record_id) for each in batch.entries]
        await spool.confirm(batch)
        if len(set(found)) >= expected:
            break
        await asyncio.sleep(0.05)
    return found


async def test_what_came_while_redis_was_away_is_sent_later(server: OwnRedis, tmp_path: Path) -> None:
    spool = RedisUsageSpool(url=server.url, fallback_directory=str(tmp_path / "spool"))
    entries = [make_entry() for _ in range(30)]
    for entry in entries[:10]:
        await spool.append(entry)
    server.kill()
    started = asyncio.get_running_loop().time()
    for entry in entries[10:20]:
        await spool.append(entry)
    assert asyncio.get_running_loop().time() - started < 3
    assert list((tmp_path / "spool").glob("usage-*.jsonl"))
    await server.start()
    await asyncio.sleep(redis_spool.RESEND_EVERY_S)
    for entry in entries[20:]:
        await spool.append(entry)
    found = await take_all(spool, 30)
    assert set(found) == {str(each.record_id) for each in entries}
    await asyncio.sleep(0.2)
    assert list((tmp_path / "spool").glob("usage-*.jsonl")) == []
    await spool.close()


async def test_a_redis_that_hangs_holds_up_one_call_and_not_each(server: OwnRedis, tmp_path: Path) -> None:
    spool = RedisUsageSpool(url=server.url, fallback_directory=str(tmp_path / "spool"))
    entries = [make_entry() for _ in range(40)]
    await spool.append(entries[0])
    loop = asyncio.get_running_loop()
    server.hang()
    began = loop.time()
    await spool.append(entries[1])
    # Redis' own timeout, once.
    assert loop.time() - began < 1.8
    for entry in entries[2:]:
        began = loop.time()
        await spool.append(entry)
        assert loop.time() - began < 0.5
        await asyncio.sleep(0.1)
    server.go_on()
    found = await take_all(spool, 40)
    assert set(found) == {str(each.record_id) for each in entries}
    await spool.close()


@pytest.mark.parametrize("loss", ["emptied", "killed", "killed for long"])
async def test_a_redis_that_comes_back_without_them_is_given_the_last_entries_again(
    server: OwnRedis, tmp_path: Path, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_spool, "RECENT_S", 2.0)
    spool = RedisUsageSpool(url=server.url, fallback_directory=str(tmp_path / "spool"))
    entries = [make_entry() for _ in range(600)]
    await asyncio.gather(*(spool.append(entry) for entry in entries[:10]))
    await asyncio.sleep(redis_spool.RESEND_EVERY_S + 0.3)
    await asyncio.gather(*(spool.append(entry) for entry in entries[10:]))
    if loss == "emptied":
        admin = redis.asyncio.Redis.from_url(server.url)
        await admin.flushall()
        await admin.aclose()
    else:
        server.kill()
        await asyncio.sleep(4 if loss == "killed for long" else 0)
        await server.start()
    found: list[str] = []
    for _ in range(20):
        found += await take_all(spool, 600)
        if len(set(found)) >= 600:
            break
    assert set(found) == {str(each.record_id) for each in entries}
    await spool.close()


async def test_what_redis_has_is_not_kept_here(server: OwnRedis, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(redis_spool, "RECENT_S", 0.5)
    spool = RedisUsageSpool(url=server.url, fallback_directory=str(tmp_path / "spool"))
    await spool.append(make_entry())
    await asyncio.sleep(2 * redis_spool.RESEND_EVERY_S + 0.5)
    assert not spool._recent
    assert len(await take_all(spool, 1)) == 1
    await spool.append(make_entry())
    assert len(await take_all(spool, 1)) == 1
    await spool.close()


async def test_files_of_a_dead_process_are_sent_by_the_next_one(server: OwnRedis, tmp_path: Path) -> None:
    folder = str(tmp_path / "spool")
    dead = RedisUsageSpool(url="redis://127.0.0.1:1/0", fallback_directory=folder)
    entry = make_entry()
    await dead.append(entry)
    await dead.close()
    spool = RedisUsageSpool(url=server.url, fallback_directory=folder)
    assert await take_all(spool, 1) == [str(entry.record_id)]
    await spool.close()


async def test_what_a_dead_drainer_held_is_claimed(
    server: OwnRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = RedisUsageSpool(url=server.url, fallback_directory=str(tmp_path / "spool"))
    entry = make_entry()
    await first.append(entry)
    assert len((await first.take(10)).entries) == 1
    await first.close()
    second = RedisUsageSpool(url=server.url, fallback_directory=str(tmp_path / "spool"))
    assert (await second.take(10)).entries == ()
    monkeypatch.setattr(redis_spool, "CLAIM_AFTER_MS", 10)
    await asyncio.sleep(0.05)
    assert await take_all(second, 1) == [str(entry.record_id)]
    client = redis.asyncio.Redis.from_url(server.url)
    assert await client.xlen(STREAM) == 0
    await client.aclose()
    await second.close()


async def test_an_emptied_redis_is_used_again(server: OwnRedis, tmp_path: Path) -> None:
    spool = RedisUsageSpool(url=server.url, fallback_directory=str(tmp_path / "spool"))
    await spool.append(make_entry())
    assert len(await take_all(spool, 1)) == 1
    client = redis.asyncio.Redis.from_url(server.url)
    await client.flushall()
    await client.aclose()
    entry = make_entry()
    await spool.append(entry)
    assert await take_all(spool, 1) == [str(entry.record_id)]
    await spool.close()
