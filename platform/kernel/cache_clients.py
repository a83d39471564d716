"""Clients of a Redis that is a cache: what it holds may be lost, so nobody waits for it.

The library is the caller's: this knows the methods of its clients, and not the library, which adapters alone may know.
"""

from typing import Any, TypeVar

from kernel.cancelling import hearing

# A call that may be answered from a cache is at most this much slower than without one.
TIMEOUT_S = 0.25

Client = TypeVar("Client")


def cache_client(kind: type[Client], url: str, *, connections: int) -> Client:
    """A client of `kind` (asyncio's of redis-py) that was not used yet, with at most `connections` at once.

    Connecting and each answer take a quarter of a second at most, nothing is tried twice, and cancellations are heard.
    """
    make: Any = kind
    client: Client = make.from_url(
        url,
        max_connections=connections,
        protocol=2,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )
    return hearing(client)
