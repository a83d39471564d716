"""The shelf and its notes: what is listed, what a silent process looks like, what is due and what is pruned."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from config.keeping.keeper import ProcessKeeper, ShelfCatalogue, prune
from config.keeping.notes import (
    RESTORATION,
    Note,
    all_notes,
    backup_name,
    find_note,
    new_id,
    note_name,
    read_note,
    shelf,
    write_note,
)
from config.keeping.schedule import is_due
from kernel.backends import backends
from kernel.errors import Conflict, NotFound

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def own_shelf(tmp_path: Path) -> Iterator[Path]:
    """A shelf of the test's own."""
    spec = replace(settings.BACKENDS["shelf"], options={"root": str(tmp_path / "shelf")})
    backends.configure({**settings.BACKENDS, "shelf": spec})
    yield tmp_path / "shelf"
    backends.configure(settings.BACKENDS)


def put(tmp_path: Path, *, days: int = 0, **values: object) -> Note:
    """A note, and a file when it is done."""
    begun = NOW - timedelta(days=days)
    note = Note(id=new_id(begun), created_at=begun.isoformat(), **values)  # type: ignore[arg-type]  # its fields
    if note.state == "done":
        content = tmp_path / "content"
        content.write_bytes(b"0123456789")
        shelf().put(backup_name(note.id), content)
    write_note(note_name(note.id), note)
    return note


def test_a_shelf_keeps_files_and_gives_parts_of_them(tmp_path: Path, own_shelf: Path) -> None:
    assert shelf().files() == []
    content = tmp_path / "content"
    content.write_bytes(b"0123456789")
    shelf().put("one.zip", content)
    assert not content.exists()
    assert [(file.name, file.size) for file in shelf().files()] == [("one.zip", 10)]
    assert b"".join(shelf().read("one.zip")) == b"0123456789"
    assert b"".join(shelf().read("one.zip", 3, 4)) == b"3456"
    assert shelf().fetch("one.zip", tmp_path).read_bytes() == b"0123456789"
    shelf().delete("one.zip")
    shelf().delete("one.zip")
    with pytest.raises(NotFound):
        b"".join(shelf().read("one.zip"))
    for name in ("../etc", "a/b", ".hidden", ""):
        with pytest.raises(NotFound):
            b"".join(shelf().read(name))


@pytest.mark.django_db
def test_the_newest_comes_first_and_a_file_without_a_note_is_listed(tmp_path: Path) -> None:
    old = put(tmp_path, days=2, state="done")
    new = put(tmp_path, days=1, state="failed", error="why")
    shelf().delete(note_name(old.id))
    found = ShelfCatalogue().backups()
    assert [view.id for view in found] == [new.id, old.id]
    assert (found[0].state, found[0].error) == ("failed", "why")
    assert (found[1].state, found[1].size_bytes) == ("done", 10)
    assert b"".join(ShelfCatalogue().read(old.id, 0, 2)) == b"01"
    for name in ("atrium-x", "../x", new_id()):
        with pytest.raises(NotFound):
            find_note(name)


def test_a_process_that_fell_silent_has_failed(own_shelf: Path, tmp_path: Path) -> None:
    note = put(tmp_path, state="running")
    assert find_note(note.id).state == "running"
    late = asdict(replace(note, updated_at=(NOW - timedelta(minutes=2)).isoformat()))
    (own_shelf / note_name(note.id)).write_text(json.dumps(late))
    found = find_note(note.id)
    assert found.state == "failed"
    assert "without a word" in found.error
    (own_shelf / note_name(note.id)).write_text("{broken")
    assert read_note(note_name(note.id)) is None


@pytest.mark.django_db
def test_one_at_work_forbids_another(tmp_path: Path) -> None:
    done = put(tmp_path, days=1, state="done")
    write_note(RESTORATION, Note(id=done.id, state="running", created_at=NOW.isoformat()))
    for act in (
        lambda: ProcessKeeper().take("me"),
        lambda: ProcessKeeper().restore(done.id, "me"),
        lambda: ShelfCatalogue().delete(done.id),
    ):
        with pytest.raises(Conflict, match="being"):
            act()
    write_note(RESTORATION, Note(id=done.id, state="done", created_at=NOW.isoformat()))
    ShelfCatalogue().delete(done.id)
    assert all_notes() == []
    assert ProcessKeeper().restoration().state == "done"


def test_what_is_due(tmp_path: Path) -> None:
    day = timedelta(days=1)
    assert is_due(day)
    put(tmp_path, days=3, state="done")
    put(tmp_path, state="done", origin="uploaded")
    assert is_due(day)
    put(tmp_path, state="failed")
    assert not is_due(day)
    assert is_due(day, now=NOW + 2 * day)


def test_older_ones_are_pruned_but_not_uploaded_ones(tmp_path: Path) -> None:
    notes = [put(tmp_path, days=days, state="done") for days in (1, 2, 3, 4)]
    kept = put(tmp_path, days=9, state="done", origin="uploaded")
    assert prune() == []
    with override_settings(ATRIUM=replace(settings.ATRIUM, backups_keep=2)):
        assert prune() == [notes[2].id, notes[3].id]
    assert {note.id for note in all_notes()} == {notes[0].id, notes[1].id, kept.id}
