"""Talking to identity providers over HTTP: addresses that a tenant names, so everything is bounded and checked.

The name is looked up once, every address of it must be public, and the connection goes to the checked one. Hosts that the
operator lists may be private, and may do without https. No redirects, no proxies, five seconds, one megabyte.
"""

import base64
import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from kernel.errors import UpstreamFailed

WITHIN_S = 5.0
MOST_BYTES = 1024 * 1024
# Shared by carriers, and what maps IPv4 into IPv6: neither is global, and not every Python says so.
_FORBIDDEN = tuple(map(ipaddress.ip_network, ("100.64.0.0/10", "64:ff9b::/96", "::ffff:0:0/96")))


class HttpProviderFetch:
    """Adapter of `ProviderFetch`."""

    def __init__(self, *, private_hosts: Sequence[str] = ()) -> None:
        """`private_hosts` are names that may lead into the own network."""
        self._private = frozenset(host.lower() for host in private_hosts)

    def get_document(self, url: str) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises UpstreamFailed, worded for who sets the provider up."""
        return self._ask("GET", url, None, {})

    def post_form(
        self, url: str, fields: Mapping[str, str], *, basic: tuple[str, str] | None = None
    ) -> Mapping[str, Any]:
        """The JSON object that answers a form; `basic` is user and password. Raises UpstreamFailed."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if basic is not None:
            # OAuth 2.0 §2.3.1: both are form-encoded first.
            pair = ":".join(quote(each, safe="") for each in basic)
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return self._ask("POST", url, urlencode(fields), headers)

    def _ask(self, method: str, url: str, body: str | None, headers: Mapping[str, str]) -> Mapping[str, Any]:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if not host or parts.username or (parts.scheme != "https" and host not in self._private):
            raise UpstreamFailed(f"{url}: expected https and a host name, without a user in it.")
        connection = self._connection(parts.scheme, host, parts.port)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, path, body, {"accept": "application/json", **headers})
            answer = connection.getresponse()
            raw = answer.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise UpstreamFailed(f"{host} does not answer: {type(error).__name__}.") from error
        finally:
            connection.close()
        return _object(host, answer.status, raw)

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        wanted = port or (443 if scheme == "https" else 80)
        address = self._address(host, wanted)
        if scheme == "https":
            return _Pinned(host, wanted, address)
        return http.client.HTTPConnection(address, wanted, timeout=WITHIN_S)

    def _address(self, host: str, port: int) -> str:
        try:
            found = {str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        except OSError as error:
            raise UpstreamFailed(f"{host} is not known to the name service.") from error
        if host not in self._private and not all(map(_is_public, found)):
            raise UpstreamFailed(f"{host} leads into a private network, which an operator has to allow.")
        return sorted(found, key=lambda each: ":" in each)[0]


class _Pinned(http.client.HTTPSConnection):
    """Connects to the checked address under the host's name."""

    def __init__(self, host: str, port: int, address: str) -> None:
        super().__init__(host, port, timeout=WITHIN_S, context=ssl.create_default_context())
        self._address = address
        self._tls = ssl.create_default_context()

    def connect(self) -> None:
        """To the address, with the certificate of the name."""
        plain = socket.create_connection((self._address, self.port), WITHIN_S)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    inside = any(address.version == each.version and address in each for each in _FORBIDDEN)
    return address.is_global and not address.is_multicast and not inside


def _object(host: str, status: int, raw: bytes) -> Mapping[str, Any]:
    if len(raw) > MOST_BYTES:
        raise UpstreamFailed(f"{host} answers with more than a megabyte.")
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise UpstreamFailed(f"{host} answers {status}, and not with a JSON object.")
    if status != 200:
        said = body.get("error_description") or body.get("error") or "no reason"
        raise UpstreamFailed(f"{host} answers {status}: {str(said)[:200]}.")
    return body
