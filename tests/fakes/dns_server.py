"""A name server on loopback that answers from a table, and can be told to fail."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from dns.flags import QR
from dns.message import from_wire, make_response
from dns.rcode import NXDOMAIN, SERVFAIL
from dns.rdatatype import to_text
from dns.rrset import from_text


class NameServer(asyncio.DatagramProtocol):
    """`records` are texts of records by (name, type); `asked` are the questions that came."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl = 1
        self.fails = False
        self.silent = False
        self.asked: list[tuple[str, str]] = []
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Answer one question."""
        question = from_wire(data)
        (asked,) = question.question
        name, kind = asked.name.to_text(omit_final_dot=True), to_text(asked.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return
        answer = make_response(question)
        answer.flags |= QR
        found = self.records.get((name, kind))
        if self.fails:
            answer.set_rcode(SERVFAIL)
        elif found:
            answer.answer.append(from_text(asked.name, self.ttl, "IN", kind, *found))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(NXDOMAIN)
        self._transport.sendto(answer.to_wire(), address)  # type: ignore[attr-defined]


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """A running one."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()


@contextmanager
def name_server_thread() -> Iterator[NameServer]:
    """One that runs aside, for tests that wait."""
    ready, started = threading.Event(), list[tuple[NameServer, asyncio.AbstractEventLoop, asyncio.Event]]()

    async def serve() -> None:
        async with name_server() as server:
            done = asyncio.Event()
            started.append((server, asyncio.get_running_loop(), done))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(10)
    ((server, loop, done),) = started
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
