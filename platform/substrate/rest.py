"""What every REST view shares: strict serializers, problem documents, cursor pages, idempotent POSTs.

Views hold no rules: they check the input's shape, call a service with the request's principal, and show what comes
back. `request.auth` is the principal (see `tenants.authentication`).
"""

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, cast

import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions, pagination, serializers
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from kernel.context import ensure_request
from kernel.errors import AtriumError, BadInput, TooLarge, Unavailable
from kernel.hops import note_error
from kernel.ids import parse_uuid
from substrate.idempotency import begin_once, finish_once, forget_once
from substrate.queries import refuse_unknown_parameters
from substrate.wording import all_for_reader, for_reader

log = structlog.get_logger(__name__)

ROUTE_LENGTH = 255
# Answers below 500 that say nothing for good.
TRY_AGAIN = frozenset({408, 409, 425, 429})
# Refusals that the person puts right without changing the request: by giving the password again.
ASKED_AGAIN = frozenset({"reauthentication_required"})


class TenantBound(Protocol):
    """Whatever authentication puts at `request.auth`: it knows its tenant."""

    @property
    def tenant_id(self) -> uuid.UUID:
        """The tenant the request acts in."""
        ...


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know, so that a typo is an error and not a silent default."""

    def to_internal_value(self, data: Any) -> Any:
        """Validate; unknown fields raise a ValidationError that names them."""
        if isinstance(data, Mapping):
            unknown = set(data) - set(self.fields) - {"csrfmiddlewaretoken"}
            if unknown:
                raise serializers.ValidationError(
                    {name: ["Unknown field."] for name in sorted(map(str, unknown))}
                )
        return super().to_internal_value(data)


class ToldField(serializers.CharField):
    """A reason that was stored or made in English, told in the reader's language."""

    def to_representation(self, value: Any) -> str:
        """The text in the language of the request."""
        return for_reader(super().to_representation(value))


class CursorPages(pagination.CursorPagination):
    """Cursor pages `{"results", "next", "previous"}`; `limit` asks for 1–200 rows."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"
    ordering: str | tuple[str, ...] = "-id"

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        """The cursor of the request. Raises NotFound for one that this server did not make."""
        cursor = super().decode_cursor(request)
        by_id = tuple(self.ordering) in (("id",), ("-id",))
        if cursor and by_id and cursor.position is not None and parse_uuid(str(cursor.position)) is None:
            raise exceptions.NotFound(self.invalid_cursor_message)
        return cursor


def problem(error: AtriumError, *, errors: object = None) -> Response:
    """The problem document (RFC 9457) of an error."""
    note_error(error.code)
    words = for_reader(error.message)
    body: dict[str, object] = {
        "type": f"urn:atrium:error:{error.code}",
        "title": words,
        "status": getattr(error, "engine_status", error.status),
        "detail": words,
        "code": error.code,
        "request_id": ensure_request().request_id,
    }
    if error.param:
        body["param"] = error.param
    if errors is not None:
        body["errors"] = all_for_reader(errors)
    response = Response(body, status=cast(int, body["status"]), content_type="application/problem+json")
    if error.retry_after_s is not None:
        response["Retry-After"] = str(max(1, int(error.retry_after_s + 0.999)))
    return response


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception hook: every known error as a problem document; None lets Django report a bug."""
    set_rollback()
    if isinstance(error, AtriumError):
        return problem(error)
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("database_failed", error=str(error))
        return problem(Unavailable("The database is not available.", retry_after_s=1.0))
    if isinstance(error, RequestDataTooBig):
        return problem(TooLarge())
    if isinstance(error, SuspiciousOperation):
        return problem(BadInput())
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    return _problem_of_drf(error)


def _problem_of_drf(error: exceptions.APIException) -> Response:
    fields = error.detail if isinstance(error, exceptions.ValidationError) else None
    code = error.get_codes() if isinstance(error.get_codes(), str) else "invalid_request_error"
    note_error(str(code))
    detail = for_reader("The request is not valid." if fields is not None else str(error.detail))
    body = {
        "type": f"urn:atrium:error:{code}",
        "title": detail,
        "status": error.status_code,
        "detail": detail,
        "code": code,
        "request_id": ensure_request().request_id,
    }
    if fields is not None:
        body["errors"] = all_for_reader(fields)
    response = Response(body, status=error.status_code, content_type="application/problem+json")
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        response["WWW-Authenticate"] = error.auth_header if hasattr(error, "auth_header") else "Bearer"
    wait = getattr(error, "wait", None)
    if wait:
        response["Retry-After"] = str(int(wait) + 1)
    return response


class JsonAlone(BaseContentNegotiation):
    """Answers are JSON whatever is asked for; `format` is a parameter of lists (`substrate.listings`), not DRF's."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """The parser of the body's content type, or None."""
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The first renderer."""
        return renderers[0], renderers[0].media_type


class AtriumView(APIView):
    """Base of all REST views. A POST with an `Idempotency-Key` runs once; the same key answers the same again.

    A query parameter that the operation's `extend_schema` does not declare is refused.

    A view whose answer is a secret says `idempotent = False`: it is kept nowhere, and every POST is a request of its own.
    """

    idempotent: ClassVar[bool] = True

    content_negotiation_class = JsonAlone

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the view; a POST with a key goes through the idempotency record."""
        key = request.headers.get("Idempotency-Key")
        if request.method != "POST" or not key or not self.idempotent:
            return super().dispatch(request, *args, **kwargs)
        self._idempotency_key = key
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """After authentication and permissions: check the query's names; claim the idempotency key, or answer from it."""
        super().initial(request, *args, **kwargs)
        refuse_unknown_parameters(type(self), request)
        key = getattr(self, "_idempotency_key", None)
        if key is None or request.auth is None:
            return
        if len(key) > 255:
            raise BadInput("Idempotency-Key is longer than 255 characters.", param="Idempotency-Key")
        bound = cast(TenantBound, request.auth)
        digest = _body_hash(request)
        route = request.path[:ROUTE_LENGTH]
        stored = begin_once(tenant_id=bound.tenant_id, key=key, route=route, body_hash=digest)
        if stored is not None:
            raise _Replay(stored.status, stored.body)
        self._idempotency_claim = (bound.tenant_id, key, route)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer a replayed POST from its record; everything else goes to the exception hook."""
        if isinstance(exc, _Replay):
            form = "application/problem+json" if exc.status >= 400 else None
            response = Response(exc.body, status=exc.status, content_type=form)
            response["Idempotent-Replay"] = "true"
            return response
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Store the outcome of a claimed POST; the key is free again when trying again may help."""
        final = super().finalize_response(request, response, *args, **kwargs)
        claim = getattr(self, "_idempotency_claim", None)
        if claim is not None:
            tenant_id, key, route = claim
            if isinstance(final, Response) and _is_kept(final):
                final.render()
                finish_once(
                    tenant_id=tenant_id,
                    key=key,
                    route=route,
                    status=final.status_code,
                    body=final.content.decode(),
                )
            else:
                forget_once(tenant_id=tenant_id, key=key, route=route)
        return final


def _is_kept(answer: Response) -> bool:
    """Whether asking again would be answered the same."""
    if answer.status_code >= 500 or answer.status_code in TRY_AGAIN:
        return False
    return not (isinstance(answer.data, dict) and answer.data.get("code") in ASKED_AGAIN)


class _Replay(Exception):
    """A POST whose answer is already stored."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__("replay")
        self.status = status
        self.body = body


def _body_hash(request: Request) -> str:
    if not (request.content_type and request.content_type.startswith("multipart/")):
        return hashlib.sha256(request.body).hexdigest()
    # The parser has taken the parts; boundaries differ from one try to the next.
    digest = hashlib.sha256(repr(sorted(request.POST.items())).encode())
    for name, file in sorted(request.FILES.items()):
        digest.update(repr((name, file.name, file.size)).encode())
        for piece in file.chunks():
            digest.update(piece)
        file.seek(0)
    return digest.hexdigest()


def principal_of(request: Request) -> Any:
    """The principal of an authenticated request. Raises NotAuthenticated without one."""
    if request.auth is None:
        raise exceptions.NotAuthenticated
    return request.auth
