"""The middleware of the control plane: ids in and out, one access line, the relaxed policy on /admin/ alone."""

import asyncio
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.translation import override

from config.middleware import AdminContentPolicyMiddleware, DatabaseAwayMiddleware, RequestContextMiddleware
from kernel.context import RequestContext, current_request

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
seen: list[RequestContext | None] = []


def view(request: HttpRequest) -> HttpResponse:
    seen.append(current_request())
    return HttpResponse(status=418)


async def async_view(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return view(request)


@pytest.fixture(autouse=True)
def nothing_seen_yet() -> None:
    seen.clear()


def request_with(**headers: str) -> HttpRequest:
    return RequestFactory().get("/somewhere", headers=headers)


def test_ids_of_the_caller_are_kept_and_answered() -> None:
    response = RequestContextMiddleware(view)(
        request_with(**{"x-request-id": "my-request-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    )
    assert seen == [RequestContext("my-request-1", TRACE, "127.0.0.1")]
    assert response["x-request-id"] == "my-request-1"
    assert current_request() is None


def test_without_ids_new_ones_are_made() -> None:
    middleware = RequestContextMiddleware(view)
    first, second = middleware(request_with()), middleware(request_with(**{"x-request-id": "no good"}))
    assert first["x-request-id"] != second["x-request-id"]
    assert len(second["x-request-id"]) == 32


def test_one_access_line_says_what_was_answered(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="atrium.access"):
        RequestContextMiddleware(view)(request_with())
    lines: list[Any] = [record.msg for record in caplog.records if record.name == "atrium.access"]
    assert [(line["event"], line["method"], line["path"], line["status"]) for line in lines] == [
        ("request", "GET", "/somewhere", 418)
    ]
    assert lines[0]["ms"] >= 0
    assert lines[0]["request_id"]


async def test_an_async_chain_is_the_same() -> None:
    middleware = RequestContextMiddleware(async_view)
    answers = await asyncio.gather(
        *(middleware(request_with(**{"x-request-id": f"request-{number:03}"})) for number in range(20))
    )
    assert [answer["x-request-id"] for answer in answers] == [f"request-{number:03}" for number in range(20)]
    assert sorted(context.request_id for context in seen if context) == [f"request-{n:03}" for n in range(20)]


@pytest.mark.parametrize("error", [OperationalError("server closed"), InterfaceError("connection closed")])
def test_a_page_says_503_while_the_database_is_away(error: Exception) -> None:
    with override("en"):
        answered = DatabaseAwayMiddleware(view).process_exception(RequestFactory().get("/console/"), error)
    assert answered is not None
    assert (answered.status_code, answered["Retry-After"]) == (503, "5")
    page = answered.content.decode()
    assert "The database does not answer." in page
    assert '<meta http-equiv="refresh" content="5">' in page
    assert "closed" not in page


def test_what_was_sent_while_the_database_is_away_is_not_sent_again_by_itself() -> None:
    request = RequestFactory().post("/accounts/login/?next=/console/")
    request.path = "//elsewhere.test/"
    with override("de"):
        answered = DatabaseAwayMiddleware(view).process_exception(request, OperationalError())
    assert answered is not None
    page = answered.content.decode()
    assert "Die Datenbank antwortet nicht." in page
    assert "noch einmal ab" in page
    assert "refresh" not in page
    assert 'href="/%2Felsewhere.test/?next=/console/"' in page


def test_any_other_error_of_a_page_is_a_bug() -> None:
    assert DatabaseAwayMiddleware(view).process_exception(request_with(), ProgrammingError()) is None


@pytest.mark.parametrize(
    ("path", "relaxed"), [("/admin/", True), ("/admin/login/", True), ("/", False), ("/administer/", False)]
)
def test_the_policy_is_relaxed_in_the_back_office_alone(path: str, relaxed: bool) -> None:
    response = AdminContentPolicyMiddleware(lambda request: HttpResponse())(RequestFactory().get(path))
    assert hasattr(response, "_csp_replace") is relaxed
