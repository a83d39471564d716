"""Calls of Redis scripts, many at once: while one pipeline is under way, what comes gathers for the next one.

The client is the caller's: this knows its methods, and not the library, which adapters alone may know.
"""

import asyncio
from typing import Any

# Calls in one pipeline: more would keep its first ones waiting.
MOST_AT_ONCE = 512

_Call = tuple[str, str, tuple[Any, ...], "asyncio.Future[Any]"]


class ScriptPipeline:
    """Calls go out in the order they came; those of one turn of the loop go together."""

    def __init__(
        self,
        client: Any,
        *,
        timeout_s: float,
        unreachable: tuple[type[Exception], ...],
        forgotten: type[Exception],
    ) -> None:
        """`client` is an asyncio client of redis-py; a call takes `timeout_s` at most.

        `unreachable` are the errors that fail a whole pipeline, `forgotten` is that of a script the server does not know.
        """
        self._client = client
        self._unreachable = unreachable
        self._forgotten = forgotten
        self._timeout_s = timeout_s
        self._scripts: dict[str, str] = {}
        self._waiting: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None

    def send(self, script: str, prefix: str, *arguments: Any) -> "asyncio.Future[Any]":
        """Run `script` with the next pipeline; the future raises what makes Redis unreachable."""
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
        except self._unreachable as error:
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
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, self._forgotten)]
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
