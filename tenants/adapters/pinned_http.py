"""One request over HTTP to an address that a tenant names: everything about it is checked and bounded.

The name is looked up once, every address of it must be public, and the connection goes to the checked one, so that a
name that means something else a moment later leads nowhere. Hosts that the operator lists may be private, and may do
without https. No redirect is followed, no proxy is used, and the whole of it has one deadline: a server that sends a
byte now and then does not hold it longer.
"""

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

WITHIN_S = 5.0
# Shared by carriers, kept for protocols (a cloud's metadata among them) and examples, and what carries IPv4 inside of
# IPv6: none is reached from outside, and not every Python says so.
_FORBIDDEN = tuple(
    map(
        ipaddress.ip_network,
        ("100.64.0.0/10", "192.0.0.0/24", "2001::/23", "2002::/16", "3fff::/20"),
    )
)
# All of IPv6 that was given to anybody (IANA's address space registry); the rest is mapped, local, or nobody's.
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")

Lookup = Callable[[str, int], Sequence[str]]


class AddressRefused(Exception):
    """The address is none that may be asked: it leads into a private network, or (`private` False) is not well formed."""

    def __init__(self, url: str, *, private: bool) -> None:
        """`url` as it was named."""
        super().__init__(url[:200])
        self.private = private


class NameUnknown(Exception):
    """The name service does not know the host."""


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """Status, and the beginning of the body: at most one byte more than was asked for."""

    status: int
    body: bytes


class PinnedHttp:
    """Asks addresses that tenants name."""

    def __init__(
        self, *, private_hosts: Collection[str] = (), lookup: Lookup | None = None, within_s: float = WITHIN_S
    ) -> None:
        """`private_hosts` are names that may lead into the own network; `lookup` gives all addresses of a name."""
        self._private = frozenset(host.lower() for host in private_hosts)
        self._lookup = lookup or _addresses
        self._within_s = within_s

    def check(self, url: str) -> SplitResult:
        """The parts of an address that might be asked; nothing is looked up. Raises AddressRefused."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower()
            wrong = not host or parts.username is not None or parts.fragment != "" or parts.port == 0
        except ValueError:
            wrong = True
        if wrong or not url.isascii() or not url.isprintable() or " " in url:
            raise AddressRefused(url, private=False)
        if parts.scheme not in ("http", "https") or (parts.scheme == "http" and host not in self._private):
            raise AddressRefused(url, private=False)
        literal = _literal(host)
        if literal is not None and host not in self._private and not is_public(literal):
            raise AddressRefused(host, private=True)
        return parts

    def ask(
        self, method: str, url: str, body: str | bytes | None, headers: Mapping[str, str], *, most_bytes: int
    ) -> PlainAnswer:
        """One request within the time set.

        Raises AddressRefused, NameUnknown, and what sockets and `http.client` raise: TimeoutError, OSError,
        HTTPException.
        """
        parts = self.check(url)
        deadline = time.monotonic() + self._within_s
        host = (parts.hostname or "").lower()
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = _Pinned(host, port, self._address(host, port), deadline, tls=parts.scheme == "https")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return PlainAnswer(answer.status, answer.read(most_bytes + 1) if most_bytes else b"")
        finally:
            connection.end()

    def _address(self, host: str, port: int) -> str:
        try:
            found = self._lookup(host, port)
        except (OSError, UnicodeError) as error:
            raise NameUnknown(host) from error
        if not found:
            raise NameUnknown(host)
        if host not in self._private and not all(map(is_public, found)):
            raise AddressRefused(host, private=True)
        return min(found, key=lambda each: (":" in each, each))


class _Pinned(http.client.HTTPConnection):
    """Connects to the checked address under the host's name, until the deadline."""

    def __init__(self, host: str, port: int, address: str, deadline: float, *, tls: bool) -> None:
        self.default_port = 443 if tls else 80
        super().__init__(host, port)
        self._address = address
        self._deadline = deadline
        self._tls = ssl.create_default_context() if tls else None
        self._plain: socket.socket | None = None

    def connect(self) -> None:
        """To the address, with the certificate of the name."""
        plain = socket.create_connection((self._address, self.port), _left(self._deadline))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # The handshake as a whole keeps to the socket's timeout.
                plain.settimeout(_left(self._deadline))
                plain = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
        self._plain = plain
        self.sock: Any = _Hurried(plain, self._deadline)

    def end(self) -> None:
        """Close all of it, whatever is still unread: `close` alone is called before the body is read."""
        self.close()
        if self._plain is not None:
            self._plain.close()


class _Hurried:
    """What `http.client` needs of a socket, each act with the time that is left until the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, sent: bytes) -> None:
        """All of it, or TimeoutError."""
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(sent)

    def makefile(self, mode: str) -> io.BufferedReader:
        """The reading side."""
        return io.BufferedReader(_Reading(self._sock, self._deadline))

    def close(self) -> None:
        """Nothing yet: the answer may still be read."""


class _Reading(io.RawIOBase):
    """Reads a socket until the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes, 0 at the end. Raises TimeoutError."""
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


def _addresses(host: str, port: int) -> Sequence[str]:
    return sorted({str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def is_public(text: str) -> bool:
    """Whether an address is one of the public network. Raises ValueError for what is no address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inside = any(address.version == each.version and address in each for each in _FORBIDDEN)
    if address.version == 6 and address not in _GLOBAL_V6:
        return False
    return address.is_global and not address.is_multicast and not inside
