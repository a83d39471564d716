"""The front of `/v1`: which request is whose, errors in OpenAI's form, one access-log line each."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

import structlog

from gateway.access import AccessLog
from gateway.attendance import Receive
from gateway.authentication import bearer_key
from gateway.chat import answer_chat
from gateway.completions import answer_completion
from gateway.doors import Doors
from gateway.embeddings import answer_embeddings
from gateway.errors import (
    MethodNotAllowed,
    error_body,
    error_event,
    error_headers,
    error_status,
)
from gateway.exchange import Exchange, Scope, Send
from gateway.limits import GatewayLimits
from gateway.models import MODELS_PATH, answer_models
from kernel.context import RequestContext, request_context
from kernel.errors import AtriumError, Internal, NotFound, ServerOverloaded
from kernel.hops import on_trail
from kernel.streams import PeerGone
from tenants.types import Principal

log = structlog.get_logger(__name__)

Route = Callable[[Exchange, Doors, Principal], Awaitable[None]]

# What there is, by which method, with which permission.
ROUTES: dict[str, tuple[str, str, Route]] = {
    "/v1/chat/completions": ("POST", "chat.use", answer_chat),
    "/v1/completions": ("POST", "chat.use", answer_completion),
    "/v1/embeddings": ("POST", "chat.use", answer_embeddings),
    MODELS_PATH: ("GET", "models.read", answer_models),
}
# What nginx logs for a client that left before its answer; it is never sent.
CLIENT_LEFT = 499
# What is left to tell a client that its answer ends with this process.
LAST_WORD_S = 1.0
COME_BACK_S = 1.0


class Gateway:
    """An ASGI application for `/v1`."""

    def __init__(
        self,
        doors: Doors,
        limits: GatewayLimits | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        """`doors` are the services behind it."""
        self._doors = doors
        self._limits = limits or GatewayLimits()
        self._access_log = access_log or AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        exchange = Exchange(scope, receive, send, self._limits)
        trail = exchange.trail
        context = RequestContext(exchange.request_id, exchange.trace_id, exchange.address)
        with request_context(context), on_trail(trail):
            state = "failed"
            try:
                await self._serve(exchange)
                state = "failed" if exchange.error else "completed"
            except PeerGone as gone:
                state = "cancelled"
                exchange.error = str(gone)
                exchange.status = exchange.status or CLIENT_LEFT
                if exchange.stream:
                    # Without an end the server closes the connection, which a client that merely stalled will see.
                    log.info("stream_given_up", cause=str(gone))
            except asyncio.CancelledError:
                await _last_word(exchange)
                raise
            finally:
                self._access_log.note(exchange, state=state)
                exchange.end_trail(state)

    async def _serve(self, exchange: Exchange) -> None:
        try:
            # Before anything else: a mistyped path is written into logs as well.
            if b"atr_" in exchange.query:
                await self._doors.refuse_key_in_address(exchange.query)
            permission, route = _find_route(exchange)
            began = perf_counter()
            key = bearer_key(exchange.headers)
            principal = await self._doors.authenticate(key)
            exchange.trail.note("authenticate", began)
            exchange.trail.asker = principal
            exchange.tenant, exchange.key_prefix = (
                principal.tenant_slug,
                principal.api_key_prefix,
            )
            exchange.until_refused = partial(
                self._doors.until_refused, principal, partial(self._doors.authenticate, key)
            )
            self._doors.require(principal, permission)
            await route(exchange, self._doors, principal)
        except AtriumError as error:
            await _report(exchange, error)
        except (PeerGone, asyncio.CancelledError):
            raise
        except Exception:
            # The HTTP edge: a bug becomes a worded 500, and its cause a log line under the request id.
            log.exception("request_crashed", path=exchange.path)
            await _report(exchange, Internal())


def _find_route(exchange: Exchange) -> tuple[str, Route]:
    path = exchange.path.rstrip("/")
    found = ROUTES.get(path)
    if found is None:
        if not path.startswith(MODELS_PATH + "/"):
            raise NotFound(f"There is no {exchange.path}.")
        path = MODELS_PATH
        found = ROUTES[MODELS_PATH]
    exchange.trail.route = path
    method, permission, route = found
    if exchange.method != method:
        raise MethodNotAllowed([method])
    return permission, route


async def _last_word(exchange: Exchange) -> None:
    """The server ends before the answer does: say so, instead of a silent cut. Part of an answer stays unsaid."""
    error = ServerOverloaded("The server is restarting. Try again.", retry_after_s=COME_BACK_S)
    exchange.error = exchange.error or "server stops"
    if exchange.ended or (exchange.status and not exchange.stream):
        return
    try:
        async with asyncio.timeout(LAST_WORD_S):
            if exchange.stream:
                await exchange.end_stream(error_event(error))
            else:
                await exchange.answer(error_status(error), error_body(error), error_headers(error))
    except (TimeoutError, OSError):
        log.info("last_word_not_heard")


async def _report(exchange: Exchange, error: AtriumError) -> None:
    exchange.error = error.code
    if exchange.status == 0:
        await exchange.answer(error_status(error), error_body(error), error_headers(error))
    elif exchange.stream:
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await exchange.end_stream(error_event(error))
        except TimeoutError:
            raise PeerGone("client does not read") from error
