"""`manage.py ingest`: files and folders into a knowledge base."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from factories.files import make_pdf
from fakes.library import Library

from knowledge.models import Document, KnowledgeBase
from substrate.scoping import tenant_scope

FOG = "The fog signal sounds three blasts every ninety seconds."


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("papers")
    (made / "deep" / "er").mkdir(parents=True)
    (made / ".hidden").mkdir()
    (made / "fog.md").write_text(f"# Fog\n\n{FOG}\n")
    (made / "deep" / "lamp.pdf").write_bytes(make_pdf("The lamp lasts long."))
    (made / "deep" / "er" / "fog.md").write_text("Another file of the same name.")
    (made / "deep" / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (made / "empty.txt").write_text("")
    (made / ".hidden" / "secret.txt").write_text("hidden")
    (made / "link.txt").symlink_to("/etc/passwd")
    return made


def ingest(library: Library, *paths: Path, **options: Any) -> dict[str, Any]:
    out = StringIO()
    call_command(
        "ingest",
        *map(str, paths),
        tenant=library.tenant.slug,
        knowledge_base="Papers",
        as_json=True,
        stdout=out,
        **options,
    )
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def names(library: Library) -> set[str]:
    with tenant_scope(library.tenant.id):
        return set(Document.objects.values_list("external_id", flat=True))


def test_a_folder_is_taken_with_all_it_holds_and_only_once(library: Library, folder: Path) -> None:
    told = ingest(library, folder)
    assert (told["created"], told["updated"], told["unchanged"]) == (3, 0, 0)
    assert {Path(each["path"]).name for each in told["skipped"]} == {"image.png", "empty.txt", "link.txt"}
    assert names(library) == {"fog.md", "deep/lamp.pdf", "deep/er/fog.md"}
    library.work()
    again = ingest(library, folder)
    assert (again["created"], again["unchanged"]) == (0, 3)
    (folder / "fog.md").write_text("# Fog\n\nNow four blasts.\n")
    changed = ingest(library, folder)
    assert (changed["updated"], changed["unchanged"]) == (1, 2)
    with tenant_scope(library.tenant.id):
        assert KnowledgeBase.objects.count() == 1


def test_waiting_tells_what_failed(library: Library, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"no pdf")
    told = ingest(library, folder)
    library.work()
    # All have ended: waiting returns at once.
    told = ingest(library, folder / "fog.md", wait=True)
    assert (told["ready"], told["failed"]) == (1, 0)
    told = ingest(library, folder, wait_seconds=0.0)
    assert told["updated"] == 1, "the failed one is tried again"
    with pytest.raises(CommandError, match="still at work"):
        ingest(library, folder / "broken.pdf", wait=True, wait_seconds=0.0)


def test_errors_are_one_clear_line(library: Library, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="does not exist"):
        ingest(library, tmp_path / "nothing")
    with pytest.raises(CommandError):
        call_command("ingest", str(tmp_path), tenant="nobody", knowledge_base="x")
    with tenant_scope(library.tenant.id):
        assert KnowledgeBase.objects.count() == 0
