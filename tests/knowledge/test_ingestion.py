"""From a document handed in to passages that are found: states, reasons, retries, replacement, removal."""

import uuid

import pytest
from factories.files import HTML_PAGE, make_docx, make_pdf
from factories.tenants import make_principal, make_tenant
from fakes.library import Library

from kernel.errors import (
    BadInput,
    Conflict,
    EngineUnavailable,
    NotFound,
    PermissionDenied,
    TooLarge,
    Unavailable,
)
from knowledge import tasks
from knowledge.limits import MAX_FILE_BYTES
from knowledge.models import Chunk, ChunkVector, Document
from knowledge.parsing import runner
from knowledge.services import (
    create_text_document,
    delete_document,
    delete_knowledge_base,
    list_passages,
    retry_document,
    search,
    update_knowledge_base,
    upload_document,
)
from knowledge.types import (
    DocumentState,
    DocumentView,
    KnowledgeBaseView,
    NewDocument,
    SearchMode,
    UpsertOutcome,
)
from substrate.crossing import system_scope
from substrate.models import Job
from substrate.scoping import tenant_scope
from tenants.types import Role

FOG = "The fog signal of the lighthouse sounds three blasts every ninety seconds."
LAMP = "The lamp is changed after 2400 hours of service by the keeper on duty."


def found(library: Library, base: KnowledgeBaseView, query: str, **given: object) -> list[str]:
    hits = search(principal=library.principal, knowledge_base_id=base.id, query=query, **given)  # type: ignore[arg-type]
    return [hit.text for hit in hits]


def rows_of(library: Library, document: DocumentView) -> tuple[int, int]:
    """(chunks, points) that are stored of the document."""
    with tenant_scope(library.tenant.id):
        return (
            Chunk.objects.filter(document_id=document.id).count(),
            ChunkVector.objects.filter(document_id=document.id).count(),
        )


def upload(
    library: Library, base: KnowledgeBaseView, name: str, content: bytes, **given: str
) -> DocumentView:
    new = NewDocument(title=name, file_name=name, **given)  # type: ignore[arg-type]
    pieces = [content[at : at + 1000] for at in range(0, len(content), 1000)]
    return upload_document(
        principal=library.principal, knowledge_base_id=base.id, new=new, pieces=pieces
    ).document


def test_a_text_becomes_passages(library: Library) -> None:
    base = library.base()
    document = library.text(
        base, f"{FOG}\n\n{LAMP}", "Handbook", url="https://example.com/h", metadata={"year": 1901}
    )
    assert document.state is DocumentState.QUEUED
    assert found(library, base, "fog") == []
    assert library.work() == 1
    ready = library.document(document)
    assert (ready.state, ready.error, ready.chunk_count) == (DocumentState.READY, None, 1)
    hit = search(
        principal=library.principal, knowledge_base_id=base.id, query="When does the fog signal sound?"
    )[0]
    assert FOG in hit.text
    assert (hit.document_id, hit.title, hit.url) == (document.id, "Handbook", "https://example.com/h")
    assert hit.score == 1.0
    assert hit.keyword_score is not None
    assert hit.vector_score is not None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.md", b"# Fog\n\nThree blasts every ninety seconds.", "blasts"),
        ("a.html", HTML_PAGE, "compressed"),
        ("a.pdf", make_pdf("Wings that are long and thin flutter early."), "flutter"),
        ("a.docx", make_docx(), "stages"),
        ("a.csv", b"part,hours\nfilter,400\nvalve,900\n", "valve"),
        ("a.txt", "Grüße vom Leuchtturm".encode("cp1252"), "leuchtturm"),
    ],
)
def test_every_format_is_found_by_its_words(library: Library, name: str, content: bytes, says: str) -> None:
    base = library.base()
    document = upload(library, base, name, content)
    library.work()
    ready = library.document(document)
    assert (ready.state, ready.error) == (DocumentState.READY, None)
    assert ready.size_bytes == len(content)
    assert len(found(library, base, says, mode=SearchMode.KEYWORD)) == 1


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.pdf", b"not a pdf", "mislabelled"),
        ("a.txt", b" \n ", "empty"),
        ("a.pdf", make_pdf(""), "no_text"),
        ("a.docx", make_pdf("x"), "mislabelled"),
        ("a.bin", b"\x7fELF\x00\x00", "unsupported"),
    ],
)
def test_a_bad_document_fails_with_its_reason_and_the_next_one_passes(
    library: Library, name: str, content: bytes, code: str
) -> None:
    base = library.base()
    bad, good = upload(library, base, name, content), library.text(base, FOG)
    assert library.work() == 2
    failed = library.document(bad)
    assert (failed.state, failed.error_code) == (DocumentState.FAILED, code)
    assert failed.error
    assert library.document(good).state is DocumentState.READY
    assert rows_of(library, bad) == (0, 0)


def test_a_crashing_parser_fails_one_document(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    base = library.base()
    bad = library.text(base, "crash")
    monkeypatch.setattr(
        runner.parse_document, "__kwdefaults__",
        {**runner.parse_document.__kwdefaults__, "command": ("/bin/sh", "-c", "kill -SEGV $$")},
    )  # fmt: skip
    library.work()
    monkeypatch.undo()
    failed = library.document(bad)
    assert (failed.state, failed.error_code) == (DocumentState.FAILED, "parser_crashed")
    good = library.text(base, FOG)
    library.work()
    assert library.document(good).state is DocumentState.READY


def test_an_engine_that_is_away_is_waited_for(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    library.trouble.errors = [EngineUnavailable("away")] * 2
    library.work(at_most=1)
    assert library.document(document).state is DocumentState.QUEUED
    library.work()
    assert library.document(document).state is DocumentState.READY


def test_an_engine_that_stays_away_is_given_up_with_a_reason(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    library.trouble.errors = [EngineUnavailable("The engine is away.")] * 500
    assert library.work() == 10
    failed = library.document(document)
    assert failed.state is DocumentState.FAILED
    assert failed.error
    library.trouble.errors = []
    retry_document(principal=library.principal, document_id=document.id)
    library.work()
    assert library.document(document).state is DocumentState.READY


@pytest.mark.parametrize("step", ["begin", "store_chunks", "publish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_at_any_step_loses_and_doubles_nothing(
    library: Library, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    base = library.base()
    library.text(base, LAMP, "Other")
    library.work()
    document = library.text(base, FOG)
    real = getattr(tasks.ingestion, step)

    def dies(*args: object, **kwargs: object) -> object:
        if when == "after":
            real(*args, **kwargs)
        raise Unavailable("the worker died")

    monkeypatch.setattr(tasks.ingestion, step, dies)
    library.work(at_most=1)
    monkeypatch.undo()
    library.work()
    assert library.document(document).state is DocumentState.READY
    assert rows_of(library, document) == (1, 1)
    assert FOG in found(library, base, "fog signal")[0]


def test_running_a_finished_job_again_changes_nothing(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    library.work()
    with system_scope("tests"):
        Job.objects.update(state=Job.State.QUEUED)
    before = library.document(document)
    answered = library.trouble.answered
    assert library.work() == 1
    assert library.document(document) == before
    assert rows_of(library, document) == (1, 1)
    assert library.trouble.answered == answered


def test_new_content_replaces_the_old_at_once_and_never_sooner(library: Library) -> None:
    base = library.base()
    first = library.text(base, FOG, external_id="doc-1")
    library.work()
    second = library.text(base, LAMP, external_id="doc-1")
    assert second.id == first.id
    assert second.state is DocumentState.QUEUED
    assert FOG in found(library, base, "fog signal")[0], "the old text answers until the new one is ready"
    library.work()
    assert library.document(first).version == 2
    assert found(library, base, "fog signal blasts", mode=SearchMode.KEYWORD) == []
    assert LAMP in found(library, base, "lamp hours")[0]
    assert rows_of(library, first) == (1, 1)
    assert len(library.blobs()) == 1


def test_new_content_that_fails_leaves_the_old(library: Library) -> None:
    base = library.base()
    document = upload(library, base, "a.txt", FOG.encode(), external_id="doc-1")
    library.work()
    upload(library, base, "a.txt", b"\x7fELF\x00\x00", external_id="doc-1")
    library.work()
    assert library.document(document).state is DocumentState.FAILED
    assert FOG in found(library, base, "fog signal")[0]


def test_newer_content_overtakes_an_ingestion(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document is replaced, and once deleted, while an ingestion is under way."""
    base = library.base()
    document = library.text(base, FOG, external_id="doc-1")
    real = tasks.ingestion.publish

    def overtaken(*args: object, **kwargs: object) -> bool:
        monkeypatch.undo()
        with tenant_scope(library.tenant.id):
            Document.objects.filter(id=document.id).update(version=2)
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.ingestion, "publish", overtaken)
    library.work(at_most=1)
    assert found(library, base, "fog") == []
    retry = library.text(base, LAMP, external_id="doc-1")
    library.work()
    assert library.document(retry).state is DocumentState.READY
    assert rows_of(library, document) == (1, 1)


def test_a_document_deleted_while_it_is_ingested_leaves_nothing(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = library.base()
    document = library.text(base, FOG)
    real = tasks.ingestion.publish

    def deleted(*args: object, **kwargs: object) -> bool:
        monkeypatch.undo()
        delete_document(principal=library.principal, document_id=document.id)
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.ingestion, "publish", deleted)
    library.work()
    assert rows_of(library, document) == (0, 0)
    assert library.blobs() == []


def test_the_same_content_again_does_no_work(library: Library) -> None:
    base = library.base()
    library.text(base, FOG, external_id="doc-1")
    library.work()
    new = NewDocument(title="Note", external_id="doc-1")
    again = create_text_document(principal=library.principal, knowledge_base_id=base.id, new=new, text=FOG)
    assert again.outcome is UpsertOutcome.UNCHANGED
    assert library.work() == 0
    described = NewDocument(title="Note", external_id="doc-1", metadata={"a": 1})
    moved = create_text_document(
        principal=library.principal, knowledge_base_id=base.id, new=described, text=FOG
    )
    assert (moved.outcome, moved.document.metadata, moved.document.version) == (
        UpsertOutcome.UPDATED,
        {"a": 1},
        1,
    )
    assert library.work() == 0


def test_deleting_a_document_ends_it_at_once_and_removes_all_traces(library: Library) -> None:
    base = library.base()
    document, other = library.text(base, FOG), library.text(base, LAMP)
    library.work()
    delete_document(principal=library.principal, document_id=document.id)
    assert found(library, base, "fog signal blasts", mode=SearchMode.KEYWORD) == []
    assert all(FOG not in text for text in found(library, base, "fog signal"))
    with pytest.raises(NotFound):
        library.document(document)
    library.work()
    assert rows_of(library, document) == (0, 0)
    assert rows_of(library, other) == (1, 1)
    assert len(library.blobs()) == 1


def test_deleting_a_base_removes_everything_in_it(library: Library) -> None:
    base = library.base()
    documents = [library.text(base, f"{FOG} {number}") for number in range(3)]
    library.work()
    delete_knowledge_base(principal=library.principal, knowledge_base_id=base.id)
    with pytest.raises(NotFound):
        found(library, base, "fog")
    library.work()
    assert [rows_of(library, document) for document in documents] == [(0, 0)] * 3
    assert library.blobs() == []


def test_long_documents_are_read_on_around_a_citation(library: Library) -> None:
    base = library.base()
    text = "\n\n".join(f"Paragraph {n} speaks of topic{n} at some length. " * 12 for n in range(30))
    document = library.text(base, text)
    library.work()
    ready = library.document(document)
    assert ready.chunk_count >= 15
    hit = search(principal=library.principal, knowledge_base_id=base.id, query="topic17")[0]
    shown, passages = list_passages(
        principal=library.principal, document_id=document.id, around=hit.chunk_id, limit=5
    )
    assert shown.id == document.id
    assert len(passages) == 5
    assert passages[2].chunk_id == hit.chunk_id
    positions = [passage.position for passage in passages]
    assert positions == list(range(positions[0], positions[0] + 5))
    with pytest.raises(NotFound):
        list_passages(principal=library.principal, document_id=document.id, around=uuid.uuid4())
    retry_document(principal=library.principal, document_id=document.id)
    library.work()
    _, again = list_passages(
        principal=library.principal, document_id=document.id, around=hit.chunk_id, limit=5
    )
    assert [each.position for each in again] == positions, "an older version's citation still opens"


def test_another_embedder_is_never_mixed_in(library: Library) -> None:
    base = library.base()
    library.text(base, FOG)
    library.work()
    library.trouble.dimensions = 32
    late = library.text(base, LAMP)
    library.work()
    failed = library.document(late)
    assert (failed.state, failed.error_code) == (DocumentState.FAILED, "embedder_changed")
    assert "new knowledge base" in (failed.error or "")


def test_limits(library: Library) -> None:
    base = library.base()
    with pytest.raises(BadInput):
        upload(library, base, "a.txt", b"")
    assert library.blobs() == []
    new = NewDocument(title="a", file_name="a.txt")
    flood = (b"x" * (1 << 20) for _ in range(MAX_FILE_BYTES // (1 << 20) + 1))
    with pytest.raises(TooLarge):
        upload_document(principal=library.principal, knowledge_base_id=base.id, new=new, pieces=flood)
    assert library.blobs() == []
    with pytest.raises(Conflict):
        library.base()
    renamed = update_knowledge_base(
        principal=library.principal, knowledge_base_id=base.id, name="New", alpha=0.2
    )
    assert (renamed.name, renamed.alpha) == ("New", 0.2)


def test_rights_and_tenants(library: Library) -> None:
    base = library.base()
    document = library.text(base, FOG)
    library.work()
    stranger, viewer = make_principal(make_tenant()), make_principal(library.tenant, role=Role.VIEWER)
    assert search(principal=viewer, knowledge_base_id=base.id, query="fog")
    with pytest.raises(PermissionDenied):
        delete_document(principal=viewer, document_id=document.id)
    for act in (
        lambda: search(principal=stranger, knowledge_base_id=base.id, query="fog"),
        lambda: delete_document(principal=stranger, document_id=document.id),
        lambda: retry_document(principal=stranger, document_id=document.id),
        lambda: list_passages(principal=stranger, document_id=document.id),
        lambda: delete_knowledge_base(principal=stranger, knowledge_base_id=base.id),
        lambda: create_text_document(
            principal=stranger, knowledge_base_id=base.id, new=NewDocument(title="x"), text="y"
        ),
    ):
        with pytest.raises(NotFound):
            act()
    assert library.document(document).state is DocumentState.READY


def test_a_file_whose_row_cannot_be_written_is_removed(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = library.base()

    def gone(*args: object) -> None:
        raise NotFound("the base was deleted meanwhile")

    monkeypatch.setattr("knowledge.services.documents.upsert_documents", gone)
    with pytest.raises(NotFound):
        upload(library, base, "a.txt", b"text")
    assert library.blobs() == []


def test_a_search_goes_on_by_words_when_the_embedder_is_away(library: Library) -> None:
    base = library.base()
    library.text(base, FOG)
    library.work()
    library.trouble.errors = [EngineUnavailable("away")] * 500
    hits = search(principal=library.principal, knowledge_base_id=base.id, query="fog signal")
    assert FOG in hits[0].text
    assert hits[0].vector_score is None
    with pytest.raises((Unavailable, EngineUnavailable)):
        search(principal=library.principal, knowledge_base_id=base.id, query="fog", mode=SearchMode.VECTOR)
