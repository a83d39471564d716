"""Calls of Redis scripts, many at once: while one pipeline is under way, what comes gathers for the next one.

The client is the caller's: this knows its methods, and not the library, which adapters alone may know.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

# Calls in one pipeline: more would keep its first ones waiting.
MOST_AT_ONCE = 512

# Hears the answer of a call, or the error that it failed with: CancelledError of one that was given up.
Hear = Callable[[Any], None]
_Call = tuple[str, str, tuple[Any, ...], Hear]


class ScriptPipeline:
    """Calls go out in the order they came, over one connection; those of one turn of the loop go together."""

    def __init__(
        self,
        client: Any,
        *,
        timeout_s: float,
        unreachable: tuple[type[Exception], ...],
        refused: type[Exception],
        forgotten: type[Exception],
    ) -> None:
        """`client` is an asyncio client of redis-py without a timeout of its own; a call takes `timeout_s` at most.

        `unreachable` are the errors that fail a whole pipeline, `refused` is that of one call, `forgotten` that of a
        script the server does not know.
        """
        self._client = client
        self._connection: Any = None
        self._unreachable = unreachable
        self._refused = refused
        self._forgotten = forgotten
        self._timeout_s = timeout_s
        self._scripts: dict[str, str] = {}
        self._waiting: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None

    def send(self, script: str, prefix: str, *arguments: Any) -> "asyncio.Future[Any]":
        """Run `script` with the next pipeline; the future raises what makes Redis unreachable."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.tell(partial(_answer, future), script, prefix, *arguments)
        return future

    def tell(self, hear: Hear, script: str, prefix: str, *arguments: Any) -> None:
        """Run `script` with the next pipeline, for who does not wait: `hear` is called with what became of it."""
        self._waiting.append((script, prefix, arguments, hear))
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send_waiting())

    async def close(self) -> None:
        """Wait for what is under way and close the connection."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._client.connection_pool.release(connection)
        await self._client.aclose()

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await self._send(batch)
        finally:
            self._sending = None
            given_up, self._waiting = self._waiting, []
            for *_, hear in given_up:
                hear(asyncio.CancelledError())

    async def _send(self, batch: list[_Call]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await self._run(batch)
        except self._unreachable as error:
            answers = [error] * len(batch)
        for (*_, hear), answer in zip(batch, answers, strict=True):
            hear(answer)

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
        connection = await self._connected()
        commands = [
            ("EVALSHA", self._scripts[script], 1, prefix, *arguments)
            for script, prefix, arguments, _ in batch
        ]
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except self._refused as error:
                answers.append(error)
        return answers

    async def _connected(self) -> Any:
        """The connection that all calls go over, connected anew where the server has closed it.

        It is kept: to take it from the pool and a pipeline from the client each time costs more than the calls do.
        """
        pool, connection = self._client.connection_pool, self._connection
        if connection is None:
            connection = self._connection = await pool.get_connection()
        else:
            await pool.ensure_connection(connection)
        return connection


def _answer(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, asyncio.CancelledError):
        future.cancel()
    elif isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
