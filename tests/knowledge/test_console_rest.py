"""What the console asks of knowledge: lists with their counts, acts on many, versions, deleting with a way back, rights."""

import json
from dataclasses import replace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from factories.files import encrypt_pdf, make_pdf
from factories.tenants import key_client, make_principal, make_tenant
from fakes.library import Library

from kernel.errors import EngineUnavailable, NotFound, PermissionDenied
from knowledge.models import Document, KnowledgeBase, RemovedDocument
from knowledge.services import (
    delete_document,
    delete_knowledge_base,
    find_by_name,
    get_document,
    list_passages,
    name_bases,
    read_file,
    retry_documents,
    search,
)
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.job_board import CANCELLED, cancel_job
from substrate.models import Change, Job
from substrate.scoping import tenant_scope
from tenants.types import Principal, Role

ROOT = "/api/v1"
FOG = "The fog signal of the lighthouse sounds three blasts every ninety seconds."


@pytest.fixture
def client(library: Library) -> Client:
    return key_client(library.tenant)


def call(client: Client, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    given = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    answer = client.generic(method, f"{ROOT}{path}", headers=headers, **given)
    assert answer.status_code == status, answer.content[:600]
    return json.loads(answer.content) if answer.content else None


def inspector(library: Library) -> Principal:
    """A visiting operator: names and states, no content."""
    who = make_principal(library.tenant, role=Role.OWNER)
    return replace(who, permissions=who.permissions - {"knowledge.read", "chat.use", "conversations.own"})


def test_bases_tell_how_their_documents_stand(library: Library, client: Client) -> None:
    base = library.base("Manuals")
    library.base("Alpha")
    library.text(base, FOG)
    library.work()
    upload = SimpleUploadedFile("locked.pdf", encrypt_pdf(make_pdf(FOG), "secret"))
    client.post(f"{ROOT}/knowledge-bases/{base.id}/documents", {"file": upload})
    library.work()
    library.text(base, "waits")
    shown = call(client, "GET", "/knowledge-bases?sort=name&total=true")
    assert [each["name"] for each in shown["results"]] == ["Alpha", "Manuals"]
    assert shown["total"] == 2
    assert shown["results"][1]["states"] == {"queued": 1, "processing": 0, "ready": 1, "failed": 1}
    assert shown["results"][1]["document_count"] == 3
    found = call(client, "GET", "/knowledge-bases?q=manu")
    assert [each["name"] for each in found["results"]] == ["Manuals"]


def test_documents_are_sorted_searched_filtered_and_saved_as_a_file(library: Library, client: Client) -> None:
    base = library.base()
    for title, text in (
        ("b =2+2", "short"),
        ("a", "a much longer text " * 50),
        ("=danger()", "middle text here"),
    ):
        library.text(base, text, title)
    library.work()
    path = f"/knowledge-bases/{base.id}/documents"
    by_size = call(client, "GET", f"{path}?sort=-size_bytes")["results"]
    assert [each["title"] for each in by_size] == ["a", "=danger()", "b =2+2"]
    first = call(client, "GET", f"{path}?sort=title&limit=2")
    after = client.get(first["next"]).json()
    assert [each["title"] for each in first["results"] + after["results"]] == ["=danger()", "a", "b =2+2"]
    assert [each["title"] for each in call(client, "GET", f"{path}?q=dang")["results"]] == ["=danger()"]
    assert call(client, "GET", f"{path}?state=failed,queued")["results"] == []
    call(client, "GET", f"{path}?state=lost", status=400)
    call(client, "GET", f"{path}?sort=blob_key", status=400)
    file = client.get(f"{ROOT}{path}?format=csv&sort=title")
    lines = b"".join(file.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert lines[0].startswith("id,title,external_id,state,error_code")
    assert ",'=danger()," in lines[1]


def test_failed_documents_are_tried_again_all_at_once(library: Library, client: Client) -> None:
    base = library.base()
    documents = [library.text(base, f"text {number}", f"t{number}") for number in range(3)]
    with tenant_scope(library.tenant.id):
        Document.objects.filter(id__in=[documents[0].id, documents[1].id]).update(state="failed", error="x")
        Document.objects.filter(id=documents[2].id).update(state="ready")
    done = call(client, "POST", f"/knowledge-bases/{base.id}/documents:retry", {})
    assert done == {"done": 2, "remaining": 0}
    states = {each.id: library.document(each).state for each in documents}
    assert [states[each.id] for each in documents] == ["queued", "queued", "ready"]
    chosen = {"document_ids": [str(documents[2].id), str(documents[0].id)]}
    assert call(client, "POST", f"/knowledge-bases/{base.id}/documents:retry", chosen)["done"] == 1
    call(client, "POST", f"/knowledge-bases/{base.id}/documents:retry", {"document_ids": []}, 400)
    library.work()
    assert {library.document(each).state for each in documents} == {"ready"}


def test_documents_of_another_base_are_not_reached(library: Library, client: Client) -> None:
    base, other = library.base("one"), library.base("two")
    document = library.text(other, FOG)
    body = {"document_ids": [str(document.id)]}
    assert call(client, "POST", f"/knowledge-bases/{base.id}/documents:delete", body)["done"] == 0
    stranger = key_client(make_tenant())
    call(stranger, "POST", f"/knowledge-bases/{other.id}/documents:delete", body, 404)
    call(stranger, "POST", f"/documents/{document.id}/restore", {}, 404)
    call(stranger, "POST", f"/knowledge-bases/{other.id}/restore", {}, 404)
    call(stranger, "GET", f"/documents/{document.id}/file", status=404)
    assert library.document(document).title == "Note"


def test_a_deleted_document_is_gone_at_once_and_comes_back(library: Library, client: Client) -> None:
    base = library.base()
    document = library.text(base, FOG, "Fog", external_id="fog", metadata={"year": 1901})
    library.work()
    call(client, "DELETE", f"/documents/{document.id}", status=204)
    assert search(principal=library.principal, knowledge_base_id=base.id, query="fog signal") == []
    call(client, "GET", f"/documents/{document.id}", status=404)
    removed = call(client, "GET", f"/knowledge-bases/{base.id}/removed-documents")["results"]
    assert [(each["id"], each["title"]) for each in removed] == [(str(document.id), "Fog")]
    library.work(later=False)
    assert len(library.blobs()) == 1
    restored = call(client, "POST", f"/documents/{document.id}/restore", {})
    assert (restored["id"], restored["metadata"], restored["state"]) == (
        str(document.id),
        {"year": 1901},
        "queued",
    )
    library.work(later=False)
    found = search(principal=library.principal, knowledge_base_id=base.id, query="fog signal")
    assert [hit.document_id for hit in found] == [document.id]
    call(client, "POST", f"/documents/{document.id}/restore", {}, 404)
    acts = [
        each.act for each in acts_of_tenant(tenant_id=library.tenant.id, limit=10) if each.kind == "document"
    ]
    assert acts == ["restored", "deleted", "created"]


def test_restoring_at_once_keeps_the_vectors_whole(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    library.work()
    delete_document(principal=library.principal, document_id=document.id)
    client = key_client(library.tenant)
    call(client, "POST", f"/documents/{document.id}/restore", {})
    # Its removal and its ingestion are both queued now.
    library.work(later=False)
    found = search(principal=library.principal, knowledge_base_id=base.id, query="fog signal")
    assert [hit.vector_score is not None for hit in found] == [True]


def test_an_external_id_that_was_handed_in_again_is_not_overwritten(library: Library, client: Client) -> None:
    base = library.base()
    first = library.text(base, FOG, external_id="fog")
    delete_document(principal=library.principal, document_id=first.id)
    second = library.text(base, "another text", external_id="fog")
    call(client, "POST", f"/documents/{first.id}/restore", {}, 409)
    assert library.document(second).external_id == "fog"


def test_after_its_time_a_deleted_document_leaves_nothing(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    library.work()
    delete_document(principal=library.principal, document_id=document.id)
    library.work()
    with tenant_scope(library.tenant.id):
        assert not RemovedDocument.objects.exists()
    assert library.blobs() == []


def test_a_deleted_base_is_hidden_from_everything_and_comes_back(library: Library, client: Client) -> None:
    base = library.base("Manuals")
    document = library.text(base, FOG, "Fog")
    library.work()
    call(client, "DELETE", f"/knowledge-bases/{base.id}", status=204)
    call(client, "GET", f"/knowledge-bases/{base.id}", status=404)
    call(client, "GET", f"/knowledge-bases/{base.id}/documents", status=404)
    call(client, "POST", f"/knowledge-bases/{base.id}/search", {"query": "fog"}, 404)
    assert call(client, "GET", "/knowledge-bases")["results"] == []
    who = library.principal
    for look in (
        lambda: get_document(principal=who, document_id=document.id),
        lambda: list_passages(principal=who, document_id=document.id),
    ):
        with pytest.raises(NotFound):
            look()
    assert find_by_name(principal=who, text="Fog", limit=5).documents == ()
    assert name_bases(principal=who, ids=[base.id]) == {}
    library.base("Manuals")
    call(client, "POST", f"/knowledge-bases/{base.id}/restore", {}, 409)
    shown = call(client, "GET", "/knowledge-bases?deleted=true")["results"]
    assert [(each["id"], each["deleted_at"] is not None) for each in shown] == [(str(base.id), True)]
    with tenant_scope(library.tenant.id):
        KnowledgeBase.objects.filter(deleted_at=None).update(name="Newer manuals")
    restored = call(client, "POST", f"/knowledge-bases/{base.id}/restore", {})
    assert (restored["name"], restored["document_count"], restored["deleted_at"]) == ("Manuals", 1, None)
    found = search(principal=who, knowledge_base_id=base.id, query="fog signal")
    assert [hit.document_id for hit in found] == [document.id]


def test_a_restored_base_outlives_its_purge(library: Library, client: Client) -> None:
    base = library.base()
    library.text(base, FOG)
    library.work()
    delete_knowledge_base(principal=library.principal, knowledge_base_id=base.id)
    call(client, "POST", f"/knowledge-bases/{base.id}/restore", {})
    library.work()
    assert call(client, "GET", f"/knowledge-bases/{base.id}")["states"]["ready"] == 1


def test_after_its_time_a_deleted_base_leaves_nothing(library: Library) -> None:
    base = library.base()
    for number in range(3):
        library.text(base, f"{FOG} {number}", f"Fog {number}")
    gone = library.text(base, "other")
    library.work()
    delete_document(principal=library.principal, document_id=gone.id)
    delete_knowledge_base(principal=library.principal, knowledge_base_id=base.id)
    library.work()
    with tenant_scope(library.tenant.id):
        counts = [model.objects.count() for model in (KnowledgeBase, Document, RemovedDocument)]
    assert counts == [0, 0, 0]
    assert library.blobs() == []


def test_a_stale_edit_overwrites_nothing(library: Library, client: Client) -> None:
    base = call(client, "POST", "/knowledge-bases", {"name": "Manuals"}, 201)
    path = f"/knowledge-bases/{base['id']}"
    changed = call(client, "PATCH", path, {"name": "Handbooks"}, **{"if-match": f'"{base["version"]}"'})
    problem = call(client, "PATCH", path, {"name": "Books"}, 412, **{"if-match": f'"{base["version"]}"'})
    assert problem["code"] == "version_conflict"
    assert call(client, "GET", path)["name"] == "Handbooks"
    call(client, "PATCH", path, {"name": "Books"}, **{"if-match": changed["version"]})
    assert call(client, "PATCH", path, {"alpha": 0.2})["name"] == "Books"


def test_what_describes_a_document_is_replaced_without_reading_it_again(
    library: Library, client: Client
) -> None:
    base = library.base()
    document = library.text(base, FOG, metadata={"year": 1901})
    library.work()
    before = call(client, "GET", f"/documents/{document.id}")
    body = {"metadata": {"year": 1902}, "url": "https://example.com/fog"}
    after = call(client, "PATCH", f"/documents/{document.id}", body, **{"if-match": before["revision"]})
    assert (after["metadata"], after["url"], after["version"], after["state"]) == (
        {"year": 1902},
        "https://example.com/fog",
        before["version"],
        "ready",
    )
    call(client, "PATCH", f"/documents/{document.id}", body, 412, **{"if-match": before["revision"]})
    call(client, "PATCH", f"/documents/{document.id}", {"url": "javascript:alert(1)"}, 400)
    call(client, "PATCH", f"/documents/{document.id}", {"title": "x"}, 400)


def test_who_inspects_sees_names_and_reasons_but_no_content(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG, metadata={"secret": "words"})
    library.work()
    who = inspector(library)
    shown = get_document(principal=who, document_id=document.id)
    assert (shown.title, shown.state, shown.metadata) == ("Note", "ready", {})
    for look in (
        lambda: list_passages(principal=who, document_id=document.id),
        lambda: search(principal=who, knowledge_base_id=base.id, query="fog"),
        lambda: read_file(principal=who, document_id=document.id),
    ):
        with pytest.raises(PermissionDenied):
            look()


def test_a_viewer_changes_nothing(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    viewer = key_client(library.tenant, role=Role.VIEWER)
    for path in (
        f"/knowledge-bases/{base.id}/documents:retry",
        f"/knowledge-bases/{base.id}/documents:delete",
        f"/knowledge-bases/{base.id}/restore",
        f"/documents/{document.id}/restore",
    ):
        call(viewer, "POST", path, {"document_ids": [str(document.id)]}, 403)
    call(viewer, "PATCH", f"/documents/{document.id}", {"metadata": {}}, 403)
    assert call(viewer, "GET", f"/knowledge-bases/{base.id}/documents")["results"][0]["title"] == "Note"


def test_a_file_is_saved_as_it_was_handed_in_and_never_shown(library: Library, client: Client) -> None:
    base = library.base()
    content = b"<script>alert(1)</script> " + FOG.encode()
    upload = SimpleUploadedFile("page über.html", content, content_type="text/html")
    made = client.post(f"{ROOT}/knowledge-bases/{base.id}/documents", {"file": upload}).json()
    answer = client.get(f"{ROOT}/documents/{made['id']}/file")
    assert answer.content == content
    assert answer["content-type"] == "application/octet-stream"
    assert answer["content-disposition"] == "attachment; filename*=UTF-8''page%20%C3%BCber.html"
    assert answer["x-content-type-options"] == "nosniff"


def test_a_cancelled_ingestion_is_told_to_its_document(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    with system_scope("tests"):
        job = Job.objects.get(kind="knowledge.ingest")
    cancel_job(tenant_id=library.tenant.id, job_id=job.id)
    shown = library.document(document)
    assert (shown.state, shown.error_code, shown.error) == ("failed", "cancelled", CANCELLED)
    assert library.work() == 0
    retry_documents(principal=library.principal, knowledge_base_id=base.id)
    library.work()
    assert library.document(document).state == "ready"


def test_a_document_that_waits_says_why(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    library.trouble.errors += [EngineUnavailable()] * 4
    library.work(at_most=1, later=False)
    shown = library.document(document)
    assert (shown.state, shown.error) == ("queued", None)
    assert shown.error_code
    library.trouble.errors.clear()
    library.work()
    ready = library.document(document)
    assert (ready.state, ready.error_code) == ("ready", None)


def test_each_state_of_a_document_is_told_once_a_transaction(library: Library) -> None:
    base = library.base()
    Change.objects.all().delete()
    client = key_client(library.tenant)
    Change.objects.all().delete()
    lines = b"\n".join(json.dumps({"title": f"t{n}", "text": f"{FOG} {n}"}).encode() for n in range(20))
    client.generic(
        "POST", f"{ROOT}/knowledge-bases/{base.id}/documents:bulk", lines, content_type="application/x-ndjson"
    )
    told = list(Change.objects.values_list("kind", "object_id"))
    assert sorted(told) == [("document", str(base.id)), ("job", ""), ("knowledge_base", str(base.id))]


def test_passages_tell_their_places_in_both_legs(library: Library, client: Client) -> None:
    base = library.base()
    library.text(base, FOG, "Fog")
    library.text(base, "Oil the bearings each month, whatever the fog.", "Oil")
    library.work()
    found = call(client, "POST", f"/knowledge-bases/{base.id}/search", {"query": "fog signal blasts"})
    best = found["results"][0]
    assert (best["title"], best["vector_rank"], best["keyword_rank"]) == ("Fog", 1, 1)
    words = call(client, "POST", f"/knowledge-bases/{base.id}/search", {"query": "fog", "mode": "keyword"})
    assert {each["vector_rank"] for each in words["results"]} == {None}
    assert sorted(each["keyword_rank"] for each in words["results"]) == [1, 2]
