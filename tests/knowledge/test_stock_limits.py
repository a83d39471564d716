"""Limits of storage and documents: refused before anything is stored, exact under concurrency, shown with what is used."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test import Client
from factories.tenants import make_membership, session_client
from fakes.library import Library

from kernel.errors import QuotaExhausted
from knowledge.models import Document
from substrate.scoping import tenant_scope
from tenants.limit_types import Measure
from tenants.planning import Subjects, make_plan
from tenants.services import set_tenant_limits
from tenants.services.limits import load_limits
from tenants.types import Role


def limit(library: Library, **limits: int) -> None:
    set_tenant_limits(
        tenant_id=library.tenant.id, limits={Measure(name): amount for name, amount in limits.items()}
    )


def documents(library: Library) -> int:
    with tenant_scope(library.tenant.id, read_only=True):
        return Document.objects.count()


def client_of(library: Library) -> Client:
    return session_client(make_membership(library.tenant, role=Role.OWNER))


def upload(client: Client, base: Any, content: bytes) -> Any:
    file = SimpleUploadedFile("a.txt", content, "text/plain")
    return client.post(f"/api/v1/knowledge-bases/{base.id}/documents", {"file": file})


def test_documents_beyond_the_limit_are_refused_before_anything_is_stored(library: Library) -> None:
    limit(library, documents=2)
    base = library.base()
    library.text(base, "one")
    library.text(base, "two")
    kept = len(library.blobs())

    with pytest.raises(QuotaExhausted, match="may keep 2 documents"):
        library.text(base, "three")
    answer = upload(client_of(library), base, b"three")
    assert (answer.status_code, answer.json()["code"]) == (429, "insufficient_quota")
    assert (documents(library), len(library.blobs())) == (2, kept)


def test_bytes_are_counted_whole(library: Library) -> None:
    limit(library, storage_bytes=10)
    base, client = library.base(), client_of(library)
    assert upload(client, base, b"123456").status_code == 201
    refused = upload(client, base, b"12345")
    assert (refused.status_code, refused.json()["code"]) == (429, "insufficient_quota")
    assert upload(client, base, b"1234").status_code == 201
    assert len(library.blobs()) == 2


def test_a_document_that_is_replaced_counts_once(library: Library) -> None:
    limit(library, documents=1, storage_bytes=100)
    base = library.base()
    library.text(base, "x" * 90, external_id="a")
    library.text(base, "y" * 95, external_id="a")
    with pytest.raises(QuotaExhausted):
        library.text(base, "z" * 101, external_id="a")
    assert documents(library) == 1


def test_a_tenant_beyond_a_lowered_limit_may_shrink(library: Library) -> None:
    base = library.base()
    library.text(base, "x" * 90, external_id="a")
    limit(library, storage_bytes=10)
    library.text(base, "y" * 50, external_id="a")
    with pytest.raises(QuotaExhausted):
        library.text(base, "y" * 51, external_id="a")


def test_each_line_of_a_bulk_says_why(library: Library) -> None:
    limit(library, documents=1)
    base, client = library.base(), client_of(library)
    library.text(base, "one")
    body = json.dumps({"title": "t", "text": "two"})
    answer = client.post(
        f"/api/v1/knowledge-bases/{base.id}/documents:bulk", body, content_type="application/x-ndjson"
    )
    assert "may keep 1 documents" in b"".join(answer).decode()
    assert documents(library) == 1


def test_many_at_once_never_pass_it(library: Library) -> None:
    limit(library, documents=3)
    base = library.base()

    def add(number: int) -> bool:
        try:
            library.text(base, f"text {number}")
            return True
        except QuotaExhausted:
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(add, range(12)))
    assert (sum(done), documents(library), len(library.blobs())) == (3, 3, 3)


def test_the_limits_page_shows_what_is_used(library: Library) -> None:
    limit(library, documents=4, storage_bytes=1000)
    library.text(library.base(), "12345")
    rows = client_of(library).get("/api/v1/quotas?view=all").json()["results"]
    shown = {row["measure"]: (row["limit"], row["used"], row["remaining"], row["state"]) for row in rows}
    assert shown == {"documents": (4, 1, 3, "ok"), "storage_bytes": (1000, 5, 995, "ok")}


def test_calls_are_not_counted_against_them(library: Library) -> None:
    """A tenant whose only limits are stocks has no plan: its calls cost what those of an unlimited one cost."""
    limit(library, documents=1)
    found = load_limits(library.tenant.id)
    assert found is not None
    assert make_plan(found, Subjects("", "", (), ()), datetime.now(UTC)) is None
