"""Who opens a socket: a program with its key among the subprotocols, or a browser with its session cookie.

A browser sends cookies wherever a page of any site sends it, so a session counts only with an Origin that is allowed.
Keys are not sent by themselves: programs need no Origin.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kernel.errors import AtriumError, NotSignedIn
from kernel.ids import parse_parent_span, parse_traceparent

SUBPROTOCOL = "atrium.v1"
KEY_SUBPROTOCOL = "atrium.bearer."


class ForeignOrigin(AtriumError):
    """A page of another site opened the socket."""

    status = 403
    code = "foreign_origin"
    default_message = "This Origin may not open a socket here."


@dataclass(frozen=True, slots=True)
class Credential:
    """What a socket was opened with: a key, or a session and the tenant it shall act in."""

    key: str = field(default="", repr=False)
    session: str = field(default="", repr=False)
    tenant: str | None = None


def chosen_subprotocol(scope: Mapping[str, Any]) -> str | None:
    """`atrium.v1` when it was offered. The key's subprotocol is never echoed."""
    return SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None


def credential_of(
    scope: Mapping[str, Any], *, cookie_name: str, allowed_origins: Iterable[str]
) -> Credential:
    """The credential of a handshake. Raises NotSignedIn without one, ForeignOrigin."""
    for offered in scope.get("subprotocols", ()):
        if offered.startswith(KEY_SUBPROTOCOL):
            return Credential(key=offered.removeprefix(KEY_SUBPROTOCOL))
    headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
    if not is_own_origin(headers.get(b"origin", ""), headers.get(b"host", ""), allowed_origins):
        raise ForeignOrigin
    session = _cookie(headers.get(b"cookie", ""), cookie_name)
    if not session:
        raise NotSignedIn
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return Credential(session=session, tenant=(query.get("tenant") or [None])[0])


def offered_trace(scope: Mapping[str, Any]) -> tuple[str, str]:
    """(trace id, parent span id) of a handshake's `traceparent`; empty where it has none."""
    for name, value in scope.get("headers", ()):
        if name.lower() == b"traceparent":
            parent = value.decode("latin-1")
            return parse_traceparent(parent) or "", parse_parent_span(parent)
    return "", ""


def is_own_origin(origin: str, host: str, allowed_origins: Iterable[str]) -> bool:
    """Whether the page that opened the socket is ours: an allowed origin, or the very host it was opened on."""
    if not origin or origin == "null":
        return False
    if origin in allowed_origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    plain = f"{parts.scheme}://{parts.netloc}"
    return bool(host) and parts.scheme in ("http", "https") and origin == plain and parts.netloc == host


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""
