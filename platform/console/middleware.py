"""The back-office sees rows of all tenants: its requests run in a system scope. It speaks English alone."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation

from kernel.actors import Actor, acting
from substrate.crossing import system_scope

REASON = "back-office"


class BackOfficeScopeMiddleware:
    """Opens `system_scope` for `/admin/`, for operators alone; everybody else's request runs without any scope.

    Middleware rather than a wrapper of each view, because Django's admin runs queries while its templates render,
    which is after the view has returned.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        """Wrap the rest of the chain; the last middleware, so that it holds just the view and its rendering."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Run the view inside of the scope."""
        if not request.path.startswith("/admin/"):
            return self._get_response(request)
        # Its own words are in no other language: the framework's must not stand between them in the reader's.
        with translation.override("en"):
            return self._answer(request)

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if not getattr(request.user, "is_operator", False):
            return self._get_response(request)
        operator = Actor("operator", getattr(request.user, "email", ""), getattr(request.user, "id", None))
        with acting(operator), system_scope(REASON):
            return self._get_response(request)
