"""`/backups/keyring`: who may take the keyring away, what it takes, and that a backup takes it back."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from fakes.backups import take

from config.keeping import keyrings
from config.keeping.archive import Reader
from config.keeping.notes import Note, backup_name, new_id, note_name, shelf, write_note
from config.keeping.wrapped import unwrap, wrap
from kernel.backends import backends
from substrate.models import PlatformAct
from tenants.models import Membership, Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/backups"
ADDRESS = f"{ROOT}/keyring"
PASSPHRASE = "vier Züge ohne Bremse"
PASSWORD = "correct-horse-battery-9"


def operator(tenant: Tenant) -> Membership:
    """An operator with a password, in a tenant."""
    user = make_user(is_operator=True)
    user.set_password(PASSWORD)
    user.save()
    return make_membership(tenant, user, role=Role.OWNER)


def operators_key() -> Client:
    """A client with an operator's key."""
    tenant = make_tenant()
    return key_client(tenant, role=Role.OWNER, user=operator(tenant).user)


@pytest.fixture
def at_browser(tmp_path: Path) -> Iterator[Client]:
    """An operator's session, signed in a while ago, over a shelf of the test's own."""
    spec = replace(settings.BACKENDS["shelf"], options={"root": str(tmp_path / "shelf")})
    backends.configure({**settings.BACKENDS, "shelf": spec})
    yield session_client(operator(make_tenant()))
    backends.configure(settings.BACKENDS)


def confirm(client: Client) -> None:
    """Give the password again, as the page of accounts asks for it."""
    answer = client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/console/backups"})
    assert answer.status_code == 302, answer.content
    assert answer["Location"] == "/console/backups"


def save(client: Client, passphrase: str = PASSPHRASE) -> Any:
    """Ask for the keyring."""
    return client.post(ADDRESS, {"passphrase": passphrase}, content_type="application/json")


@pytest.mark.parametrize("role", list(Role))
def test_operators_alone(role: Role) -> None:
    client = key_client(make_tenant(), role=role)
    assert client.get(ADDRESS).status_code == 403
    assert save(client).status_code == 403
    assert Client().get(ADDRESS).status_code == 401


def test_no_key_takes_it_away_not_even_an_operators() -> None:
    client = operators_key()
    assert client.get(ADDRESS).json()["reauthenticated"] is False
    answer = save(client)
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")


def test_not_by_the_key_of_one_and_the_session_of_another(at_browser: Client) -> None:
    confirm(at_browser)
    client = operators_key()
    client.cookies = at_browser.cookies
    assert client.get(ADDRESS).json()["reauthenticated"] is False
    answer = save(client)
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")


def test_a_session_alone_is_not_enough_and_a_confirmation_runs_out(at_browser: Client) -> None:
    assert at_browser.get(ADDRESS).json()["reauthenticated"] is False
    answer = save(at_browser)
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
    confirm(at_browser)
    assert at_browser.get(ADDRESS).json()["reauthenticated"] is True
    session = at_browser.session
    for record in session["account_authentication_methods"]:
        record["at"] = time.time() - 301
    session.save()
    assert at_browser.get(ADDRESS).json()["reauthenticated"] is False
    assert save(at_browser).status_code == 403
    assert not PlatformAct.objects.filter(kind="keyring").exists()


def test_it_is_given_under_the_passphrase_and_put_on_record(at_browser: Client) -> None:
    before = at_browser.get(ADDRESS).json()
    assert (before["saved_at"], before["saved_by"]) == (None, "")
    assert before["fingerprints"] == keyrings.fingerprints()
    confirm(at_browser)
    answer = save(at_browser)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert unwrap(answer.content.decode(), PASSPHRASE) == settings.KEYRING
    act = PlatformAct.objects.get(kind="keyring")
    assert act.act == "exported"
    after = at_browser.get(ADDRESS).json()
    assert (after["saved_at"] is not None, after["saved_by"]) == (True, act.actor)
    assert PASSPHRASE not in json.dumps([act.before, act.after, act.label])


def test_no_answer_is_kept_for_who_repeats_the_request(at_browser: Client) -> None:
    def ask() -> Any:
        return at_browser.post(
            ADDRESS,
            {"passphrase": PASSPHRASE},
            content_type="application/json",
            headers={"Idempotency-Key": "one and the same"},
        )

    assert ask().status_code == 403
    confirm(at_browser)
    first, second = ask(), ask()
    assert (first.status_code, second.status_code) == (200, 200)
    assert "Idempotent-Replay" not in second
    assert first.content != second.content


@pytest.mark.parametrize("passphrase", ["", "short", "a" * 1025, "aaaaaaaaaaaaaaaa", "ababababababab"])
def test_poor_passphrases(at_browser: Client, passphrase: str) -> None:
    confirm(at_browser)
    answer = save(at_browser, passphrase)
    assert answer.status_code == 400
    assert "passphrase" in answer.content.decode()


@pytest.fixture
def backup(transactional_db: None, at_browser: Client, tmp_path: Path) -> str:
    """The id of a whole backup of an installation with another keyring."""
    path = take(tmp_path / "taken.zip")
    reader = Reader(path)
    head = replace(reader.head, keyring=keyrings.fingerprints({1: b"x" * 32}))
    reader.close()
    backup_id = new_id()
    size = path.stat().st_size
    shelf().put(backup_name(backup_id), path)
    note = Note(
        id=backup_id,
        state="done",
        created_at="2026-11-24T00:00:00+00:00",
        finished_at="2026-11-24T00:00:00+00:00",
        size=size,
        head=asdict(head),
    )
    write_note(note_name(backup_id), note)
    return backup_id


@pytest.mark.django_db(transaction=True)
def test_a_restore_takes_it_back(at_browser: Client, backup: str) -> None:
    given = {"keyring": json.dumps(wrap({1: b"x" * 32}, PASSPHRASE)), "passphrase": PASSPHRASE}

    def plan(body: dict[str, str]) -> Any:
        return at_browser.post(f"{ROOT}/{backup}/plan", body, content_type="application/json")

    assert at_browser.get(f"{ROOT}/{backup}/plan").json()["keyring"] == "other"
    assert plan({}).json()["keyring"] == "other"
    # It may replace this installation's: whoever gives it has confirmed who they are.
    assert plan(given).json()["code"] == "reauthentication_required"
    body = {"confirm": backup, **given}
    once = {"Idempotency-Key": "restore it"}
    for _ in range(2):
        refused = at_browser.post(
            f"{ROOT}/{backup}/restore", body, content_type="application/json", headers=once
        )
        assert refused.json()["code"] == "reauthentication_required"
        # The refusal is not kept: the same request is looked at again once they have confirmed.
        assert "Idempotent-Replay" not in refused
    confirm(at_browser)
    assert plan(given).json()["keyring"] == "given"
    wrong = plan({**given, "passphrase": "something else entirely"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_passphrase")
    assert plan({**given, "keyring": "{}"}).status_code == 400
    assert plan({"keyring": given["keyring"]}).status_code == 400
    assert plan({"passphrase": PASSPHRASE}).status_code == 400
    other = plan({**given, "keyring": json.dumps(wrap({1: b"y" * 32}, PASSPHRASE))}).json()
    assert other["keyring"] == "other"
    assert "not the one of the backup" in other["losses"][0]
