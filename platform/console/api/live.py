"""`GET /api/v1/live`: what changes, as server-sent events.

A plain ASGI application, in front of Django: a page that listens holds a coroutine and no thread. Events say that
something changed and never what; who hears of it fetches it again, under its own rights.

    event: change   data: {"kind": "document", "id": "…", "tenant": "…"}
    event: reset    data: {}              more changed than could be held: fetch everything again
    event: ping     data: {}              each 15 s
    event: end      data: {"reason": …}   signed_out | not_allowed | leaving; the stream is over
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qs

import orjson
from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from console.live_hub import OPERATE, Listener, LiveHub
from console.scopes import SCOPE_PARAMETER
from gateway.sockets import ForeignOrigin, is_own_origin
from kernel.backends import backends
from kernel.context import RequestContext, address_of, request_context
from kernel.errors import AtriumError, BadInput, NotSignedIn, PermissionDenied, Unavailable
from kernel.ids import accept_request_id, new_trace_id
from kernel.streams import PeerGone, run_until
from substrate.openapi import answers
from substrate.rest import AtriumView
from substrate.wording import in_language, language_of
from tenants.rest import SIGNED_IN
from tenants.services import authenticate_key, authenticate_session, refuse_key_in_address, require
from tenants.types import Principal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_PING = b"event: ping\ndata: {}\n\n"
_RESET = b"event: reset\ndata: {}\n\n"


class Identify(Protocol):
    """Who a credential is, now. Raises NotSignedIn, PermissionDenied, Unavailable."""

    async def __call__(self, credential: "Credential") -> Principal:
        """The principal."""
        ...


@dataclass(frozen=True, slots=True)
class Credential:
    """What the stream was opened with: a key, or a session; and the tenant it shall act in."""

    key: str = field(default="", repr=False)
    session: str = field(default="", repr=False)
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """Times of a stream, in seconds: between pings, between looks at the rights, gathered before told, one write."""

    ping_s: float = 15.0
    recheck_s: float = 60.0
    gather_s: float = 0.05
    write_s: float = 30.0


async def identify(credential: Credential) -> Principal:
    """The principal of a credential. Raises NotSignedIn, PermissionDenied, TenantSuspended, Unavailable."""
    if not credential.key:
        return await authenticate_session(credential.session, credential.tenant, visits=True)
    principal = await authenticate_key(credential.key)
    if credential.tenant not in (None, principal.tenant_slug):
        raise PermissionDenied("This API key belongs to another tenant.")
    return principal


class Live:
    """The application."""

    def __init__(
        self,
        *,
        who_is: Identify = identify,
        limits: LiveLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`who_is` names the principal of a credential; `clock` counts seconds."""
        self._who_is = who_is
        self._limits = limits or LiveLimits()
        self._clock = clock

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        request_id = accept_request_id(headers.get(b"x-request-id"))
        hub: LiveHub = backends["live_changes"]
        context = RequestContext(request_id, new_trace_id(), address_of(scope))
        try:
            if scope["method"] != "GET":
                raise MethodNotAllowed
            with request_context(context):
                await refuse_key_in_address(scope.get("query_string", b""))
                credential, platform = _asked(scope, headers)
                principal = await self._who_is(credential)
            if platform:
                require(principal, OPERATE)
            listener = hub.admit(principal, platform=platform)
        except AtriumError as error:
            await _refuse(send, error, request_id, language_of(scope.get("headers", ())))
            return
        try:
            head = [*EVENTS, (b"x-request-id", request_id.encode("latin-1"))]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            resumed = b"last-event-id" in headers
            work = self._tell(listener, credential, send, first=_RESET if resumed else _PING)
            await run_until(lambda: _gone(receive), work)
        except (PeerGone, TimeoutError):
            return
        finally:
            hub.dismiss(listener)

    async def _tell(self, listener: Listener, credential: Credential, send: Send, *, first: bytes) -> None:
        """Write what the listener hears until its rights end or the process does. Raises TimeoutError."""
        await self._write(send, b"retry: 2000\n\n" + first)
        ping_at = self._clock() + self._limits.ping_s
        check_at = self._clock() + self._limits.recheck_s
        while True:
            await _wait(listener.woken, min(ping_at, check_at) - self._clock())
            if listener.leaving:
                await self._end(send, "leaving")
                return
            if listener.stale_rights or self._clock() >= check_at:
                listener.stale_rights = False
                reason = await self._reason_to_end(listener, credential)
                if reason:
                    await self._end(send, reason)
                    return
                check_at = self._clock() + self._limits.recheck_s
            if listener.woken.is_set():
                # What belongs together comes together: one write for all of it.
                await asyncio.sleep(self._limits.gather_s)
            events = _events(listener)
            if not events and self._clock() >= ping_at:
                events = _PING
            if events:
                await self._write(send, events)
                ping_at = self._clock() + self._limits.ping_s

    async def _reason_to_end(self, listener: Listener, credential: Credential) -> str:
        """Why the stream must end; empty when its rights hold, which may have become others."""
        try:
            principal = await self._who_is(credential)
        except NotSignedIn:
            return "signed_out"
        except Unavailable:
            # Without a database nobody can say; nothing changes without it either.
            return ""
        except AtriumError:
            return "not_allowed"
        same = principal.tenant_id == listener.principal.tenant_id
        if not same or (listener.platform and OPERATE not in principal.permissions):
            return "not_allowed"
        listener.principal = principal
        return ""

    async def _end(self, send: Send, reason: str) -> None:
        await self._write(send, b'event: end\ndata: {"reason":"%s"}\n\n' % reason.encode(), more=False)

    async def _write(self, send: Send, events: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._limits.write_s):
            await send({"type": "http.response.body", "body": events, "more_body": more})


class MethodNotAllowed(BadInput):
    """The stream is only read."""

    status = 405
    code = "method_not_allowed"
    default_message = "The stream is only read: GET."


def _asked(scope: Mapping[str, Any], headers: Mapping[bytes, str]) -> tuple[Credential, bool]:
    """The credential, and whether all tenants are asked for. Raises BadInput, NotSignedIn, ForeignOrigin."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    wanted = (query.get("scope") or ["tenant"])[0]
    if wanted not in ("tenant", "platform"):
        raise BadInput("scope is tenant or platform.", param="scope")
    tenant = headers.get(b"x-atrium-tenant") or (query.get("tenant") or [""])[0] or None
    method, _, key = headers.get(b"authorization", "").partition(" ")
    if method:
        if method.lower() != "bearer":
            raise NotSignedIn("Send the API key as `Authorization: Bearer atr_…`.")
        return Credential(key=key.strip(), tenant=tenant), wanted == "platform"
    origin = headers.get(b"origin", "")
    if origin and not is_own_origin(origin, headers.get(b"host", ""), settings.ATRIUM.allowed_origins):
        raise ForeignOrigin("This Origin may not listen here.")
    session = _cookie(headers.get(b"cookie", ""), settings.SESSION_COOKIE_NAME)
    if not session:
        raise NotSignedIn("Sign in, or send an API key.")
    return Credential(session=session, tenant=tenant), wanted == "platform"


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _events(listener: Listener) -> bytes:
    changes, overflowed = listener.take()
    if overflowed:
        return _RESET
    return b"".join(
        b"event: change\ndata: %s\n\n"
        % orjson.dumps({"kind": each.kind, "id": each.id, "tenant": each.tenant_id})
        for each in changes
    )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            await event.wait()
    except TimeoutError:
        return


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, error: AtriumError, request_id: str, language: str) -> None:
    told = in_language(language, error.message)
    body = {
        "type": f"urn:atrium:error:{error.code}",
        "title": told,
        "status": error.status,
        "detail": told,
        "code": error.code,
        "request_id": request_id,
    }
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode("latin-1")),
    ]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, int(error.retry_after_s + 0.999))))
    if isinstance(error, NotSignedIn):
        headers.append((b"www-authenticate", b'Bearer realm="atrium"'))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", b"GET"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})


class LiveView(AtriumView):
    """The stream's place in the API's description; `config.asgi` answers before Django is asked."""

    required_permission: ClassVar[str] = SIGNED_IN

    @extend_schema(
        operation_id="live",
        parameters=[
            SCOPE_PARAMETER,
            OpenApiParameter(
                "tenant", OpenApiTypes.STR, description="As `X-Atrium-Tenant`, for EventSource."
            ),
        ],
        responses={**answers({}, 429, 503), (200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> None:
        """Changes as they happen: events `change` (`kind`, `id`, `tenant`), `reset`, `ping`, `end`."""
        raise Unavailable("Live changes need an ASGI server.")
