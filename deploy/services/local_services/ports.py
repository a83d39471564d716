"""Which port a service takes: the recorded one, else its usual one, else any free one.

Usual ports lie below the kernel's range for outgoing connections, so they are seldom taken by chance.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable


def is_free(port: int) -> bool:
    """Whether nobody listens on `port`, neither on loopback nor on any other address."""
    for address in ("127.0.0.1", ""):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: a connection lingering in TIME_WAIT does not make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def choose(
    wanted: Iterable[int],
    taken: set[int],
    free: Callable[[int], bool] = is_free,
    search: Iterable[int] = range(20000, 32000),
) -> int:
    """The first of `wanted`, then `search`, that is free and not `taken`. Raises LookupError when none is."""
    for port in (*wanted, *search):
        if port not in taken and free(port):
            return port
    raise LookupError("no free port")
