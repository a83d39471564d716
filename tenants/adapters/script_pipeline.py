"""Calls of Redis scripts, many at once: while one pipeline is under way, what comes gathers for the next one."""

import asyncio
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

Unreachable = (redis.RedisError, OSError, TimeoutError)

# Calls in one pipeline: more would keep its first ones waiting.
MOST_AT_ONCE = 512

_Call = tuple[str, str, tuple[Any, ...], "asyncio.Future[Any]"]


class ScriptPipeline:
    """Calls go out in the order they came; those of one turn of the loop go together."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Connects at first use. A call takes `timeout_s` at most."""
        self._client = redis.asyncio.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._timeout_s = timeout_s
        self._scripts: dict[str, str] = {}
        self._waiting: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None

    def send(self, script: str, prefix: str, *arguments: Any) -> "asyncio.Future[Any]":
        """Run `script` with the next pipeline; the future raises RedisError, OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((script, prefix, arguments, future))
        if self._sending is None:
            self._sending = loop.create_task(self._send_waiting())
        return future

    async def close(self) -> None:
        """Wait for what is under way and close the connection."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
        await self._client.aclose()

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await self._send(batch)
        finally:
            self._sending = None
            for *_, future in self._waiting:
                future.cancel()
            self._waiting = []

    async def _send(self, batch: list[_Call]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await self._run(batch)
        except Unreachable as error:
            answers = [error] * len(batch)
        for (*_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _run(self, batch: list[_Call]) -> list[Any]:
        answers = await self._evaluate(batch)
        unknown = [
            i for i, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)
        ]
        if unknown:
            # A Redis that was emptied or replaced has forgotten the scripts; nothing of these has run.
            self._scripts.clear()
            for i, answer in zip(unknown, await self._evaluate([batch[i] for i in unknown]), strict=True):
                answers[i] = answer
        return answers

    async def _evaluate(self, batch: list[_Call]) -> list[Any]:
        for script in {script for script, *_ in batch} - self._scripts.keys():
            self._scripts[script] = await self._client.script_load(script)
        async with self._client.pipeline(transaction=False) as pipeline:
            for script, prefix, arguments, _ in batch:
                pipeline.execute_command("EVALSHA", self._scripts[script], 1, prefix, *arguments)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            return answers
