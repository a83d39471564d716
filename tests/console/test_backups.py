"""`/backups` over REST: who may, what is refused, how a file is given in parts."""

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from config.keeping.notes import Note, backup_name, new_id, note_name, shelf, write_note
from kernel.backends import backends
from substrate.models import PlatformAct
from tenants.types import Role

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/backups"
CONTENT = b"0123456789"
PASSWORD = "correct-horse-battery-9"


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Client]:
    """An operator's session, opened a while ago, and a shelf of the test's own."""
    spec = replace(settings.BACKENDS["shelf"], options={"root": str(tmp_path / "shelf")})
    backends.configure({**settings.BACKENDS, "shelf": spec})
    user = make_user(is_operator=True)
    user.set_password(PASSWORD)
    user.save()
    yield session_client(make_membership(make_tenant(), user, role=Role.OWNER))
    backends.configure(settings.BACKENDS)


def confirm(client: Client) -> None:
    """Give the password again, as the page of accounts asks for it."""
    client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/console/backups"})


@pytest.fixture
def backup(operator: Client, tmp_path: Path) -> str:
    """The id of a finished backup, whose file is ten bytes."""
    backup_id = new_id()
    content = tmp_path / "content"
    content.write_bytes(CONTENT)
    shelf().put(backup_name(backup_id), content)
    write_note(note_name(backup_id), Note(id=backup_id, state="done", created_at="2026-11-24T00:00:00+00:00"))
    return backup_id


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ""),
        ("post", ""),
        ("get", "/restore"),
        ("post", "/upload"),
        ("get", "/atrium-x"),
        ("delete", "/atrium-x"),
        ("get", "/atrium-x/file"),
        ("get", "/atrium-x/plan"),
        ("post", "/atrium-x/restore"),
    ],
)
def test_operators_alone(role: Role, method: str, path: str) -> None:
    client = key_client(make_tenant(), role=role)
    assert getattr(client, method)(ROOT + path).status_code == 403
    assert getattr(Client(), method)(ROOT + path).status_code == 401


def test_what_there_is(operator: Client, backup: str) -> None:
    assert operator.get(f"{ROOT}/restore").json()["state"] == "none"
    page = operator.get(ROOT).json()
    assert (page["next"], page["previous"]) == (None, None)
    assert [(row["id"], row["state"], row["size_bytes"]) for row in page["results"]] == [(backup, "done", 10)]
    assert operator.get(f"{ROOT}/{backup}").json()["id"] == backup
    confirm(operator)
    for unknown in ("atrium-x", new_id(), "atrium-..%2f..%2fetc"):
        assert operator.get(f"{ROOT}/{unknown}").status_code == 404
        assert operator.get(f"{ROOT}/{unknown}/file").status_code == 404
        assert operator.get(f"{ROOT}/{unknown}/plan").status_code == 404
        assert operator.delete(f"{ROOT}/{unknown}").status_code == 404


async def drained(answer: Any) -> bytes:
    """All of a streamed answer."""
    return b"".join([piece async for piece in answer.streaming_content])


@pytest.mark.parametrize(
    ("asked", "status", "given", "told"),
    [
        ("", 200, CONTENT, ""),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=0-9", 200, CONTENT, ""),
        ("bytes=20-30", 200, CONTENT, ""),
        ("bytes=-3", 200, CONTENT, ""),
        ("bytes=1-2,4-5", 200, CONTENT, ""),
        ("lines=1-2", 200, CONTENT, ""),
    ],
)
def test_a_file_in_parts(
    operator: Client, backup: str, asked: str, status: int, given: bytes, told: str
) -> None:
    confirm(operator)
    headers = {"range": asked} if asked else {}
    answer = operator.get(f"{ROOT}/{backup}/file", headers=headers)
    assert answer.status_code == status
    assert asyncio.run(drained(answer)) == given
    assert answer["Content-Length"] == str(len(given))
    assert answer.get("Content-Range", "") == told
    assert answer["Content-Disposition"] == f'attachment; filename="{backup}.zip"'
    # All that people wrote is in it: who took it, or a part of it, is on record.
    act = PlatformAct.objects.get(kind="backup")
    assert (act.act, act.object_id) == ("downloaded", backup)


def test_taking_it_away_and_restoring_ask_who_it_is_and_no_key_may(operator: Client, backup: str) -> None:
    other = make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER)
    for client in (operator, key_client(other.tenant, role=Role.OWNER, user=other.user)):
        typed = {"confirm": backup}
        for answer in (
            client.get(f"{ROOT}/{backup}/file"),
            client.post(f"{ROOT}/{backup}/restore", typed, content_type="application/json"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
    assert operator.get(f"{ROOT}/restore").json()["state"] == "none"
    assert not PlatformAct.objects.filter(kind="backup").exists()


def test_an_upload_that_is_none_is_refused_and_not_listed(operator: Client) -> None:
    for content in (b"", b"PK\x03\x04 rubbish", b"x" * 70_000):
        answer = operator.post(f"{ROOT}/upload", {"file": io.BytesIO(content)})
        assert answer.status_code == 400
    assert operator.post(f"{ROOT}/upload", {}).status_code == 400
    assert operator.post(f"{ROOT}/upload", b"{}", content_type="application/json").status_code == 415
    assert operator.get(ROOT).json()["results"] == []


@pytest.mark.parametrize("typed", ["", "yes", "restore", "atrium-", None, 5, {"a": 1}])
def test_a_restore_wants_the_name_typed(operator: Client, backup: str, typed: object) -> None:
    confirm(operator)
    answer = operator.post(
        f"{ROOT}/{backup}/restore", json.dumps({"confirm": typed}), content_type="application/json"
    )
    assert answer.status_code == 400
    assert operator.get(f"{ROOT}/restore").json()["state"] == "none"
    unknown = operator.post(
        f"{ROOT}/{backup}/restore", '{"confirm": "x", "force": true}', content_type="application/json"
    )
    assert unknown.json()["errors"] == {"force": ["Unknown field."]}


def test_deleting_is_recorded(operator: Client, backup: str) -> None:
    assert operator.delete(f"{ROOT}/{backup}").status_code == 204
    assert operator.get(f"{ROOT}/{backup}").status_code == 404
    act = PlatformAct.objects.get(kind="backup")
    assert (act.act, act.object_id) == ("deleted", backup)
