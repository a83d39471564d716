"""django-prometheus around the control plane, without its hops between threads, and with bounded labels."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django_prometheus.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"})


async def _count(middleware: Any, request: HttpRequest) -> HttpResponseBase:
    """Counting never blocks: it needs no thread."""
    middleware.process_request(request)
    counted: HttpResponseBase = middleware.process_response(request, await middleware.get_response(request))
    return counted


class BeforeMiddleware(PrometheusBeforeMiddleware):
    """Counts and times requests, all middleware included. Stands first."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """In the loop."""
        return await _count(self, request)


class AfterMiddleware(PrometheusAfterMiddleware):
    """Counts and times views. Stands last."""

    def process_request(self, request: HttpRequest) -> None:
        """A length that is no number counts as none: it is the view's to refuse."""
        if str(request.META.get("CONTENT_LENGTH") or "0").isdigit():
            super().process_request(request)  # type: ignore[no-untyped-call]

    def label_metric(self, metric: Any, request: HttpRequest, response: Any = None, **labels: Any) -> Any:
        """A method that nobody knows is not a label of its own."""
        if labels.get("method", "GET") not in METHODS:
            labels["method"] = "<invalid method>"
        return super().label_metric(metric, request, response, **labels)  # type: ignore[no-untyped-call]

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """In the loop."""
        return await _count(self, request)
