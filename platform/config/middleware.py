"""Middleware of the control plane."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, cast

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.http import escape_leading_slashes

from kernel.context import RequestContext, request_context
from kernel.ids import accept_request_id, new_trace_id, parse_traceparent

log = structlog.get_logger("atrium.access")

# The pool of connections has tried twice by then.
RETRY_AFTER_S = 5

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class RequestContextMiddleware:
    """Gives each request its request id and trace id, answers with `x-request-id`, writes one access line."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        """Sync or async, as the rest of the chain is."""
        self._get_response = get_response
        self._async = iscoroutinefunction(get_response)
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Run the rest of the chain under the request's context."""
        if self._async:
            return self._call_async(request)
        started = perf_counter()
        with request_context(_context(request)) as context:
            response = cast(HttpResponseBase, self._get_response(request))
            return _finish(request, response, context, started)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        started = perf_counter()
        with request_context(_context(request)) as context:
            response = await cast(Awaitable[HttpResponseBase], self._get_response(request))
            return _finish(request, response, context, started)


def _context(request: HttpRequest) -> RequestContext:
    trace_id = parse_traceparent(request.headers.get("traceparent")) or new_trace_id()
    request_id = accept_request_id(request.headers.get("x-request-id"))
    return RequestContext(request_id, trace_id, request.META.get("REMOTE_ADDR") or "")


def _finish(
    request: HttpRequest, response: HttpResponseBase, context: RequestContext, started: float
) -> HttpResponseBase:
    response["x-request-id"] = context.request_id
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=round((perf_counter() - started) * 1000, 1),
    )
    return response


class DatabaseAwayMiddleware:
    """Pages say that the database is away, and what to do, instead of looking like a bug. The REST API has its own form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        """Wrap the rest of the chain."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Nothing but the errors of the view is of interest."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """503 with Retry-After for an error of the database's connection; every other error goes on."""
        if not isinstance(exception, OperationalError | InterfaceError):
            return None
        log.warning("database_failed", error=str(exception))
        asks_again = request.method in ("GET", "HEAD")
        # Without the request: what it would add to the page asks the database who is signed in.
        words = {
            "asks_again": asks_again,
            "retry_after_s": RETRY_AFTER_S,
            "path": escape_leading_slashes(request.get_full_path()),
        }
        page = render_to_string("account/away.html", words)
        headers = {"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"}
        return HttpResponse(page, status=503, headers=headers)


class AdminContentPolicyMiddleware:
    """Relaxes the content policy on `/admin/` alone, where the back-office theme needs it.

    Stands inside django-csp's middleware, which reads the mark that is set here.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        """Wrap the rest of the chain."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Mark responses below `/admin/`."""
        response = self._get_response(request)
        if request.path.startswith("/admin/"):
            setattr(response, "_csp_replace", settings.ADMIN_CONTENT_POLICY)  # noqa: B010 - django-csp's own interface
        return response
