"""The REST API of knowledge: shapes, errors, bulk, bad input."""

import json
import uuid
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from factories.files import make_pdf
from factories.tenants import key_client, make_tenant
from fakes.library import Library

from tenants.types import Role

ROOT = "/api/v1"
FOG = "The fog signal of the lighthouse sounds three blasts every ninety seconds."


@pytest.fixture
def client(library: Library) -> Client:
    return key_client(library.tenant)


def call(client: Client, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
    given = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    answer = client.generic(method, f"{ROOT}{path}", **given, **more)
    assert answer.status_code == status, answer.content[:600]
    if status >= 400:
        assert answer["content-type"] == "application/problem+json"
    return json.loads(answer.content) if answer.content else None


def make_base(client: Client, name: str = "Manuals") -> str:
    made: str = call(client, "POST", "/knowledge-bases", {"name": name}, 201)["id"]
    return made


def upload(client: Client, base: str, name: str, content: bytes, status: int = 201, **fields: str) -> Any:
    answer = client.post(
        f"{ROOT}/knowledge-bases/{base}/documents", {"file": SimpleUploadedFile(name, content), **fields}
    )
    assert answer.status_code == status, answer.content[:600]
    return answer.json()


def test_the_whole_way(library: Library, client: Client) -> None:
    base = make_base(client)
    made = upload(client, base, "fog.pdf", make_pdf(FOG), external_id="f1", metadata='{"year": 1901}')
    assert (made["state"], made["title"], made["error"], made["metadata"]) == (
        "queued",
        "fog.pdf",
        None,
        {"year": 1901},
    )
    library.work()
    shown = call(client, "GET", f"/knowledge-bases/{base}/documents/{made['id']}/")
    assert (shown["state"], shown["chunk_count"], shown["page_count"]) == ("ready", 1, 1)
    found = call(client, "POST", f"/knowledge-bases/{base}/search", {"query": "fog signal", "limit": 3})
    hit = found["results"][0]
    assert FOG in hit["text"]
    assert {
        "document_id",
        "external_id",
        "title",
        "chunk_id",
        "text",
        "score",
        "vector_score",
        "keyword_score",
    } <= set(hit)
    assert (hit["document_id"], hit["external_id"], hit["page"]) == (made["id"], "f1", 1)
    assert found["took_ms"] >= 0
    opened = call(client, "GET", f"/documents/{made['id']}/passages?around={hit['chunk_id']}")
    assert opened["document"]["id"] == made["id"]
    assert [each["chunk_id"] for each in opened["passages"]] == [hit["chunk_id"]]
    assert {"chunk_id", "text", "heading", "position", "page"} == set(opened["passages"][0])
    call(client, "DELETE", f"/documents/{made['id']}", status=204)
    call(client, "GET", f"/documents/{made['id']}", status=404)
    call(client, "DELETE", f"/knowledge-bases/{base}", status=204)
    call(client, "GET", f"/knowledge-bases/{base}", status=404)


def test_bases_are_listed_changed_and_named_once(client: Client) -> None:
    first, second = make_base(client, "One"), make_base(client, "Two")
    page = call(client, "GET", "/knowledge-bases?limit=1")
    assert [each["id"] for each in page["results"]] == [second]
    assert page["next"]
    call(client, "POST", "/knowledge-bases", {"name": "One"}, 409)
    call(client, "PATCH", f"/knowledge-bases/{first}", {"name": "Two"}, 409)
    changed = call(client, "PATCH", f"/knowledge-bases/{first}", {"description": "d", "alpha": 0.25})
    assert (changed["name"], changed["description"], changed["alpha"]) == ("One", "d", 0.25)


def test_documents_are_listed_by_state(library: Library, client: Client) -> None:
    base = make_base(client)
    path = f"/knowledge-bases/{base}/documents"
    for number in range(3):
        call(client, "POST", path, {"title": f"T{number}", "text": FOG}, 201)
    library.work(at_most=2)
    assert len(call(client, "GET", f"{path}?state=ready")["results"]) == 2
    assert len(call(client, "GET", f"{path}?state=queued")["results"]) == 1
    assert call(client, "GET", f"/knowledge-bases/{base}")["document_count"] == 3
    call(client, "GET", f"{path}?state=lost", status=400)


def test_text_documents_are_upserted_by_external_id(client: Client) -> None:
    path = f"/knowledge-bases/{make_base(client)}/documents"
    body = {
        "title": "T",
        "text": FOG,
        "external_id": "e",
        "url": "https://example.com",
        "acl": ["a"],
        "metadata": {"k": 1},
    }
    made = call(client, "POST", path, body, 201)
    assert (made["acl"], made["metadata"], made["url"], made["version"]) == (
        ["a"],
        {"k": 1},
        "https://example.com",
        1,
    )
    again = call(client, "POST", path, {**body, "text": "other"}, 200)
    assert (again["id"], again["version"]) == (made["id"], 2)
    call(client, "POST", f"{path}/{made['id']}/retry", status=409)


def test_bulk_answers_each_line(library: Library, client: Client) -> None:
    base = make_base(client)
    lines = [
        json.dumps({"title": "A", "text": FOG, "external_id": "a"}),
        "{not json",
        "",
        json.dumps({"title": "B"}),
        json.dumps([1]),
        json.dumps({"title": "C", "text": "x", "what": 1}),
        json.dumps({"title": "A2", "text": "newer", "external_id": "a"}),
        json.dumps({"title": "D", "text": "d"}),
    ]
    answer = client.post(
        f"{ROOT}/knowledge-bases/{base}/documents:bulk", "\n".join(lines), content_type="application/x-ndjson"
    )
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["accepted"], body["failed"]) == (3, 4)
    assert [(each["line"], each["outcome"]) for each in body["results"]] == [
        (1, "created"), (2, None), (4, None), (5, None), (6, None), (7, "updated"), (8, "created"),
    ]  # fmt: skip
    errors = {each["line"]: each["error"] for each in body["results"] if each["error"]}
    assert errors[4].startswith("text:")
    assert errors[6].startswith("what:")
    library.work()
    ready = call(client, "GET", f"/knowledge-bases/{base}/documents?state=ready")["results"]
    assert {each["title"] for each in ready} == {"A2", "D"}


def test_bulk_takes_ndjson_alone(client: Client) -> None:
    path = f"{ROOT}/knowledge-bases/{make_base(client)}/documents:bulk"
    assert client.post(path, "{}", content_type="application/json").status_code == 415
    assert client.post(path, "\n\n", content_type="application/x-ndjson").status_code == 400
    assert client.post(path, b"", content_type="application/x-ndjson").status_code == 400


BAD_BODIES: list[tuple[str, Any]] = [
    ("search", {"query": ""}),
    ("search", {"query": "   "}),
    ("search", {"query": "a\x00b"}),
    ("search", {"query": "a", "limit": 10**30}),
    ("search", {"query": "a", "limit": 0}),
    ("search", {"query": "a", "alpha": 1.5}),
    ("search", {"query": "a", "alpha": "nan"}),
    ("search", {"query": "a", "mode": "magic"}),
    ("search", {"query": "a", "typo": 1}),
    ("search", {"query": "x" * 9000}),
    ("search", {"query": "a", "filters": {"document_ids": ["no uuid"]}}),
    ("search", {"query": "a", "filters": {"metadata": {'a"b': 1}}}),
    ("search", {"query": "a", "filters": {"metadata": {"a": [1]}}}),
    ("search", []),
    ("documents", {"title": "T"}),
    ("documents", {"title": "T", "text": ""}),
    ("documents", {"title": "T\x00", "text": "x"}),
    ("documents", {"title": "T", "text": "x\x00"}),
    ("documents", {"title": "T", "text": "x", "metadata": {"a": "\x00"}}),
    ("documents", {"title": "T", "text": "x", "metadata": [1]}),
    ("documents", {"title": "T", "text": "x", "metadata": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}}),
    ("documents", {"title": "T", "text": "x", "url": "javascript:alert(1)"}),
    ("documents", {"title": "T" * 501, "text": "x"}),
    ("documents", {"title": "T", "text": "x", "acl": "all"}),
    ("documents", "text"),
]


@pytest.mark.parametrize(("path", "body"), BAD_BODIES)
def test_bad_bodies(client: Client, path: str, body: Any) -> None:
    call(client, "POST", f"/knowledge-bases/{make_base(client)}/{path}", body, 400)


def test_hostile_filters_match_nothing_foreign(library: Library, client: Client) -> None:
    base = make_base(client)
    path = f"/knowledge-bases/{base}"
    for year in (1901, 1902):
        call(
            client,
            "POST",
            f"{path}/documents",
            {"title": str(year), "text": FOG, "metadata": {"year": year, "a__gt": "x"}},
            201,
        )
    library.work()

    def titles(**filters: Any) -> set[str]:
        found = call(client, "POST", f"{path}/search", {"query": "fog", "filters": filters})
        return {hit["title"] for hit in found["results"]}

    assert titles(metadata={"year": 1901}) == {"1901"}
    assert titles(metadata={"a__gt": "x"}) == {"1901", "1902"}
    assert titles(metadata={"year__gt": 0}) == set()
    assert titles(metadata={"' OR 1=1 --": 1}) == set()
    assert titles(metadata={"year": "1901' OR '1'='1"}) == set()
    assert titles(external_ids=["%"]) == set()
    assert titles(media_types=["text/plain"]) == {"1901", "1902"}
    assert titles(document_ids=[str(uuid.uuid4())]) == set()


# A name of a test must be the same in every process.
NOBODYS = uuid.UUID(int=7)


@pytest.mark.parametrize(
    "path",
    [
        "/knowledge-bases/nothing",
        f"/knowledge-bases/{NOBODYS}",
        "/knowledge-bases/nothing/documents",
        f"/knowledge-bases/{NOBODYS}/documents",
        f"/knowledge-bases/{NOBODYS}/documents/x",
        "/documents/nothing",
        f"/documents/{NOBODYS}/passages",
        "/documents/%00",
    ],
)
def test_unknown_ids_are_not_found(client: Client, path: str) -> None:
    call(client, "GET", path, status=404)


def test_odd_passages_and_limits(library: Library, client: Client) -> None:
    base = make_base(client)
    made = call(client, "POST", f"/knowledge-bases/{base}/documents", {"title": "T", "text": FOG}, 201)
    library.work()
    path = f"/documents/{made['id']}/passages"
    assert len(call(client, "GET", path)["passages"]) == 1
    call(client, "GET", f"{path}?around=x", status=404)
    call(client, "GET", f"{path}?around={uuid.uuid4()}", status=404)
    for limit in ("0", "-1", "x", "1" * 40, "101"):
        call(client, "GET", f"{path}?limit={limit}", status=400)


def test_uploads_that_are_refused_at_the_door(client: Client) -> None:
    base = make_base(client)
    upload(client, base, "a.txt", b"", 400)
    upload(client, base, "a.txt", b"x", 400, metadata="{broken")
    upload(client, base, "a.txt", b"x", 400, what="1")
    path = f"{ROOT}/knowledge-bases/{base}/documents"
    assert client.post(path, {"title": "no file"}).status_code == 400
    assert client.post(path, b"x", content_type="text/plain").status_code == 415
    huge = client.generic("POST", path, b"{}", content_type="application/json", CONTENT_LENGTH=str(10**12))
    assert huge.status_code == 413


def test_rights_by_role_and_tenant(library: Library, client: Client) -> None:
    base = make_base(client)
    made = call(client, "POST", f"/knowledge-bases/{base}/documents", {"title": "T", "text": FOG}, 201)
    viewer, stranger = key_client(library.tenant, role=Role.VIEWER), key_client(make_tenant())
    call(viewer, "GET", f"/knowledge-bases/{base}")
    call(viewer, "POST", f"/knowledge-bases/{base}/search", {"query": "fog"})
    call(viewer, "POST", "/knowledge-bases", {"name": "x"}, 403)
    call(viewer, "DELETE", f"/documents/{made['id']}", status=403)
    call(viewer, "POST", f"/knowledge-bases/{base}/documents", {"title": "T", "text": FOG}, 403)
    for method, path, body in (
        ("GET", f"/knowledge-bases/{base}", None),
        ("DELETE", f"/knowledge-bases/{base}", None),
        ("POST", f"/knowledge-bases/{base}/search", {"query": "fog"}),
        ("POST", f"/knowledge-bases/{base}/documents", {"title": "T", "text": "x"}),
        ("GET", f"/documents/{made['id']}", None),
        ("GET", f"/documents/{made['id']}/passages", None),
        ("POST", f"/knowledge-bases/{base}/documents/{made['id']}/retry", None),
    ):
        call(stranger, method, path, body, 404)
    assert call(stranger, "GET", "/knowledge-bases")["results"] == []
    assert Client().get(f"{ROOT}/knowledge-bases").status_code == 401


def test_an_idempotency_key_makes_one_document(client: Client) -> None:
    base = make_base(client)
    path = f"/knowledge-bases/{base}/documents"
    bodies = [
        call(client, "POST", path, {"title": "T", "text": FOG}, 201, headers={"idempotency-key": "k-1"})
        for _ in range(2)
    ]
    assert bodies[0] == bodies[1]
    assert call(client, "GET", f"/knowledge-bases/{base}")["document_count"] == 1
    uploads = [
        client.post(
            f"{ROOT}{path}",
            {"file": SimpleUploadedFile("a.txt", FOG.encode())},
            headers={"idempotency-key": "k-2"},
        )
        for _ in range(2)
    ]
    assert [each.status_code for each in uploads] == [201, 201]
    assert uploads[0].json() == uploads[1].json()
    lines = json.dumps({"title": "T", "text": FOG})
    for _ in range(2):
        bulk = client.post(
            f"{ROOT}{path}:bulk",
            lines,
            content_type="application/x-ndjson",
            headers={"idempotency-key": "k-3"},
        )
        assert bulk.json()["accepted"] == 1
    assert call(client, "GET", f"/knowledge-bases/{base}")["document_count"] == 3
