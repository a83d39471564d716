"""What every REST view shares: strict bodies, problem documents, POSTs that happen once."""

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import InterfaceError, OperationalError
from django.http import Http404
from factories.tenants import make_tenant
from rest_framework import exceptions, serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from kernel.context import RequestContext, request_context
from kernel.errors import BadInput, Conflict, EngineRefused, NotFound, RateLimited, Unavailable
from substrate.rest import AtriumView, StrictSerializer, answer_exception, principal_of, problem

pytestmark = pytest.mark.django_db


class Named(StrictSerializer):
    """A body with one field and an object."""

    name = serializers.CharField(max_length=10)


class Outer(StrictSerializer):
    """A body that holds another."""

    inner = Named()


def test_known_fields_pass() -> None:
    body = Outer(data={"inner": {"name": "x"}})
    assert body.is_valid()
    assert body.validated_data == {"inner": {"name": "x"}}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"inner": {"name": "x"}, "innr": 1}, "innr"),
        ({"inner": {"name": "x", "nme": 1}}, "inner"),
        ({"inner": {}}, "inner"),
        ([], "non_field_errors"),
        ("text", "non_field_errors"),
        ({"inner": {"name": "x"}, 7: 1}, "7"),
    ],
)
def test_anything_else_is_an_error_that_names_the_field(body: Any, where: str) -> None:
    serializer = Outer(data=body)
    assert not serializer.is_valid()
    assert list(serializer.errors) == [where]


def test_a_problem_has_all_that_a_client_needs() -> None:
    with request_context(RequestContext("request-1", "a" * 32)):
        response = problem(
            BadInput("Too hot.", param="temperature", retry_after_s=0.2), errors={"temperature": ["Too hot."]}
        )
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert response["Retry-After"] == "1"
    assert response.data == {
        "type": "urn:atrium:error:invalid_request_error",
        "title": "Too hot.",
        "status": 400,
        "detail": "Too hot.",
        "code": "invalid_request_error",
        "request_id": "request-1",
        "param": "temperature",
        "errors": {"temperature": ["Too hot."]},
    }


KNOWN: list[tuple[Exception, int, str]] = [
    (NotFound(), 404, "not_found"),
    (Conflict(code="slug_taken"), 409, "slug_taken"),
    (RateLimited(retry_after_s=2.1), 429, "rate_limit_exceeded"),
    (Unavailable(), 503, "unavailable"),
    (EngineRefused("no", status=422), 422, "invalid_request_error"),
    (OperationalError("connection refused"), 503, "unavailable"),
    (InterfaceError("connection closed"), 503, "unavailable"),
    (Http404(), 404, "not_found"),
    (DjangoPermissionDenied(), 403, "permission_denied"),
    (RequestDataTooBig(), 413, "request_too_large"),
    (SuspiciousOperation(), 400, "invalid_request_error"),
    (exceptions.ParseError(), 400, "parse_error"),
    (exceptions.ValidationError({"name": ["Missing."]}), 400, "invalid_request_error"),
    (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
    (exceptions.UnsupportedMediaType("text/odd"), 415, "unsupported_media_type"),
    (exceptions.NotAuthenticated(), 401, "not_authenticated"),
    (exceptions.Throttled(wait=3), 429, "throttled"),
]


@pytest.mark.parametrize(("error", "status", "code"), KNOWN, ids=lambda each: type(each).__name__)
def test_every_known_error_is_a_problem_document(error: Exception, status: int, code: str) -> None:
    response = answer_exception(error, {})
    assert response is not None
    assert response.content_type == "application/problem+json"
    assert (response.status_code, response.data["status"], response.data["code"]) == (status, status, code)
    assert response.data["detail"]
    assert response.data["request_id"]


def test_waits_are_rounded_up_and_sign_in_says_how() -> None:
    limited = answer_exception(RateLimited(retry_after_s=2.1), {})
    throttled = answer_exception(exceptions.Throttled(wait=3), {})
    unsigned = answer_exception(exceptions.NotAuthenticated(), {})
    assert limited is not None
    assert throttled is not None
    assert unsigned is not None
    assert limited["Retry-After"] == "3"
    assert throttled["Retry-After"] == "4"
    assert unsigned["WWW-Authenticate"] == "Bearer"


def test_a_bug_is_left_to_django() -> None:
    assert answer_exception(RuntimeError("secret"), {}) is None


@dataclass(frozen=True)
class Bound:
    """A principal, as far as the substrate knows it."""

    tenant_id: uuid.UUID


class ByHeader(BaseAuthentication):
    """The tenant is whom the header names."""

    def authenticate(self, request: Request) -> tuple[object, Bound] | None:
        named = request.headers.get("x-test-tenant")
        return (object(), Bound(uuid.UUID(named))) if named else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class Counting(AtriumView):
    """Answers how often it was really called; fails as it is told."""

    authentication_classes: ClassVar[Any] = [ByHeader]
    permission_classes: ClassVar[Any] = []
    parser_classes: ClassVar[Any] = [JSONParser, MultiPartParser]
    fails: ClassVar[list[Exception]] = []
    calls: ClassVar[list[object]] = []

    def post(self, request: Request) -> Response:
        principal_of(request)
        self.calls.append(dict(request.data))
        if self.fails:
            raise self.fails.pop()
        return Response({"call": len(self.calls)}, status=201)

    def get(self, request: Request) -> Response:
        self.calls.append("get")
        return Response({"call": len(self.calls)})


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    Counting.calls.clear()
    Counting.fails.clear()


@pytest.fixture
def tenant() -> str:
    return str(make_tenant().id)


def post(
    tenant: str, body: object = None, *, key: str = "key-1", path: str = "/things", **options: Any
) -> Any:
    headers = {"x-test-tenant": tenant} | ({"Idempotency-Key": key} if key else {})
    options.setdefault("format", "json")
    request = APIRequestFactory().post(path, {"a": 1} if body is None else body, headers=headers, **options)
    return Counting.as_view()(request).render()


def test_a_post_with_a_key_happens_once(tenant: str) -> None:
    first, second = post(tenant), post(tenant)
    assert (first.status_code, first.content) == (second.status_code, second.content) == (201, b'{"call":1}')
    assert "Idempotent-Replay" not in first
    assert second["Idempotent-Replay"] == "true"
    assert Counting.calls == [{"a": 1}]


def test_without_a_key_it_happens_each_time(tenant: str) -> None:
    assert [post(tenant, key="").data["call"] for _ in range(2)] == [1, 2]


def test_reading_takes_no_key(tenant: str) -> None:
    request = APIRequestFactory().get(
        "/things", headers={"x-test-tenant": tenant, "Idempotency-Key": "key-1"}
    )
    assert [Counting.as_view()(request).data["call"] for _ in range(2)] == [1, 2]


def test_keys_are_apart_by_tenant_and_path(tenant: str) -> None:
    post(tenant)
    assert post(str(make_tenant().id)).data["call"] == 2
    assert post(tenant, path="/others").data["call"] == 3
    assert post(tenant, path="/" + "long" * 200).data["call"] == 4


def test_another_body_is_refused(tenant: str) -> None:
    post(tenant)
    refused = post(tenant, {"a": 2})
    assert (refused.status_code, refused.data["code"]) == (409, "idempotency_key_reused")
    assert len(Counting.calls) == 1


def test_an_answer_that_stands_is_kept_with_its_form(tenant: str) -> None:
    Counting.fails.append(BadInput("Too hot."))
    first, second = post(tenant), post(tenant)
    assert (first.status_code, second.status_code, len(Counting.calls)) == (400, 400, 1)
    assert second["content-type"] == "application/problem+json"
    assert second.data["detail"] == "Too hot."


@pytest.mark.parametrize("error", [Unavailable(), RateLimited(), Conflict()], ids=lambda each: each.code)
def test_an_answer_that_may_change_frees_the_key(tenant: str, error: Exception) -> None:
    Counting.fails.append(error)
    assert post(tenant).status_code >= 409
    assert post(tenant).data == {"call": 2}


def test_a_key_that_is_too_long_is_bad_input(tenant: str) -> None:
    assert post(tenant, key="k" * 256).status_code == 400
    assert post(tenant, key="k" * 255).status_code == 201


def test_without_a_principal_nothing_is_kept() -> None:
    request = APIRequestFactory().post("/things", {}, format="json", headers={"Idempotency-Key": "key-1"})
    assert Counting.as_view()(request).status_code == 401


def test_uploads_are_told_apart(tenant: str) -> None:
    def upload(name: str, content: bytes) -> Any:
        return post(tenant, {"file": SimpleUploadedFile(name, content)}, format="multipart")

    assert upload("a.txt", b"one").data == upload("a.txt", b"one").data == {"call": 1}
    for name, content in (("a.txt", b"three"), ("a.txt", b"two"), ("b.txt", b"one")):
        assert upload(name, content).status_code == 409


def test_a_body_that_is_no_json_is_a_problem(tenant: str) -> None:
    request = APIRequestFactory().post(
        "/things", b"{", content_type="application/json", headers={"x-test-tenant": tenant}
    )
    answered = Counting.as_view()(request)
    assert (answered.status_code, answered.content_type) == (400, "application/problem+json")
