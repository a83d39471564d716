"""A source that says what it is told to say."""

import asyncio
from collections.abc import AsyncGenerator

from inference.sources import Found, ReplicaSource, Roster
from kernel.errors import AtriumError


class PaperDiscovery:
    """Says `ports` of one host whenever `tell` is called, or fails as `fails` says; `begun` counts who began to follow."""

    def __init__(self, *ports: int) -> None:
        """There are these."""
        self.ports = ports
        self.fails: AtriumError | None = None
        self.begun = 0
        self.ended = 0
        self._told = asyncio.Event()

    def tell(self, *ports: int, fails: AtriumError | None = None) -> None:
        """Say something else from now on."""
        self.ports, self.fails = ports, fails
        self._told.set()

    async def follow(self, source: ReplicaSource) -> AsyncGenerator[Roster, None]:
        """Who is there now, and after each `tell`."""
        self.begun += 1
        try:
            while True:
                if self.fails is not None:
                    raise self.fails
                yield Roster(tuple(Found(f"http://10.0.0.1:{port}/v1") for port in self.ports))
                await self._told.wait()
                self._told.clear()
        finally:
            self.ended += 1
