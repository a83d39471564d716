"""Every operation of the published schema refuses a query parameter that it does not declare, and says which it knows."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from fakes.published import published_schema

from tenants.types import Role

CONSOLE = Path(__file__).resolve().parents[2] / "web/src/console"
# A table of the console that names the list it shows.
_TABLE = re.compile(r"<(?:DataTable|ListPage)\b[^>]*?\bpath=(?:[^>]|=>)*?>", re.DOTALL)
_PATH = re.compile(r"\bpath=[{`\"]+(/[^`\"]*)[`\"]")
ANY_ID = "01a20bda-92ef-7578-b7dd-19b7295d71a2"
ANY_BACKUP = "atrium-20200101-000000-aaaa"
METHODS = ("get", "post", "put", "patch", "delete")
# Answered before Django is asked, and by a query of its own.
NOT_DJANGO = {"/api/v1/live/"}
UNKNOWN = "no_such_name"


def operations() -> Iterator[tuple[str, str, list[str]]]:
    """Method, address and the names of the query parameters."""
    for path, methods in published_schema()["paths"].items():
        address = re.sub(r"\{(\w+)\}", lambda at: ANY_BACKUP if at[1] == "backup_id" else ANY_ID, path)
        for method, operation in methods.items():
            if method in METHODS and path not in NOT_DJANGO:
                named = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
                yield method, address, named


def ask(
    callers: tuple[Client, Client], method: str, address: str, query: str
) -> tuple[int, dict[str, object]]:
    client = callers["/inspected-conversations" in address]
    answer = client.generic(method.upper(), f"{address}?{query}", content_type="application/json")
    json = answer.headers.get("Content-Type", "").endswith("json")
    return answer.status_code, answer.json() if json and not answer.streaming else {}


@pytest.fixture
def callers() -> tuple[Client, Client]:
    """Two who may together call everything: an owner who is an operator, and one who visits under break-glass."""
    owner, visitor = (
        session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))
        for _ in range(2)
    )
    visitor.defaults["HTTP_X_ATRIUM_TENANT"] = make_tenant().slug
    grant = {"reason": "Ticket 4711: an answer is said to be wrong", "minutes": 30}
    answer = visitor.post("/api/v1/break-glass", grant, content_type="application/json")
    assert answer.status_code == 201
    return owner, visitor


@pytest.mark.sweep
@pytest.mark.django_db
def test_every_operation_refuses_what_it_does_not_declare(callers: tuple[Client, Client]) -> None:
    wrong, asked = [], 0
    for method, address, known in operations():
        status, body = ask(callers, method, address, f"{UNKNOWN}=1")
        asked += 1
        told = str(body.get("detail"))
        named = set(re.findall(r"\w+", told.partition("Known are:")[2]))
        if (status, body.get("param")) != (400, UNKNOWN) or UNKNOWN not in told or named != set(known):
            wrong.append(f"{method} {address}: {status} {body}, declared: {known}")
    assert wrong == [], "\n".join(wrong)
    assert asked >= 200


@pytest.mark.sweep
@pytest.mark.django_db
def test_no_operation_refuses_what_it_declares(callers: tuple[Client, Client]) -> None:
    wrong, asked = [], 0
    for method, address, known in operations():
        for name in known:
            _, body = ask(callers, method, address, f"{name}=1")
            asked += 1
            if "query parameter" in str(body.get("detail")):
                wrong.append(f"{method} {address}?{name}: {body}")
    assert wrong == [], "\n".join(wrong)
    assert asked >= 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address", ["/api/v1/audit-events?since=2026-01-01", "/api/v1/chargeback?month=2026-01"]
)
def test_a_misspelt_filter_is_named_with_the_known_ones(address: str) -> None:
    client = key_client(make_tenant(), role=Role.OWNER)
    answer = client.get(address)
    name = "since" if "since" in address else "month"
    assert answer.status_code == 400
    assert answer.json()["param"] == name
    assert f"`{name}`" in answer.json()["detail"]
    assert "format" in answer.json()["detail"]
    german = client.get(address, headers={"accept-language": "de"}).json()["detail"]
    assert german.startswith(f"Hier gibt es keinen Abfrageparameter `{name}`. Bekannt sind: ")


def test_each_table_of_the_console_asks_for_what_its_list_declares() -> None:
    """Each asks for a page and the count; the fields that it sorts, searches and filters by are its page's to test."""
    lists = {
        re.sub(r"{\w+}", "{}", path).rstrip("/"): {each["name"] for each in methods["get"]["parameters"]}
        for path, methods in published_schema()["paths"].items()
        if "get" in methods and "parameters" in methods["get"]
    }
    wrong, asked = [], 0
    for file in sorted(CONSOLE.rglob("*.svelte")):
        for tag in _TABLE.findall(file.read_text()):
            path = re.sub(r"\$?{[^}]*}", "{}", _PATH.search(tag)[1])  # type: ignore[index]
            sent = {"limit", "cursor", "total"} | ({"scope"} if re.search(r"\bscoped\b", tag) else set())
            sent |= {"format"} if re.search(r"\bcsv\b", tag) else set()
            asked += 1
            if missing := sent - lists[f"/api/v1{path}"]:
                wrong.append(f"{file.name}: {path} takes no {missing}")
    assert wrong == []
    assert asked >= 15


@pytest.mark.django_db
def test_a_parameter_given_twice_is_refused() -> None:
    client = key_client(make_tenant(), role=Role.OWNER)
    answer = client.get("/api/v1/users?role=owner&role=member")
    assert (answer.status_code, answer.json()["param"]) == (400, "role")


@pytest.mark.django_db
def test_who_may_not_ask_learns_no_names() -> None:
    assert Client().get("/api/v1/audit-events?since=1").status_code == 401
    assert key_client(make_tenant()).get("/api/v1/audit-events?since=1").status_code == 403


@pytest.mark.django_db
def test_nothing_is_done_and_no_idempotency_key_is_used_up() -> None:
    client = key_client(make_tenant(), role=Role.OWNER)
    sent = {
        "data": {"name": "Handbooks"},
        "content_type": "application/json",
        "headers": {"idempotency-key": "once"},
    }
    assert client.post("/api/v1/knowledge-bases?dry_run=true", **sent).status_code == 400
    assert client.get("/api/v1/knowledge-bases").json()["results"] == []
    assert client.post("/api/v1/knowledge-bases", **sent).status_code == 201
    answer = client.options("/api/v1/knowledge-bases?anything=1")
    assert answer.status_code == 200
