"""The keyring is kept apart; without it a restore says what will not work before it starts."""

import base64
import json
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from factories.tenants import make_key, make_tenant, make_user
from fakes.backups import restore, take, tampered
from fakes.library import Library

from config.keeping import keyrings
from config.keeping.aftermath import Aftermath
from config.keeping.archive import Reader
from config.keeping.at_work import Stopped
from config.keeping.failures import KeepingFailed, NotABackup
from config.keeping.manifest import read_head
from config.keeping.plan import Plan, make_plan
from config.management.commands.restore import Command
from inference.services import register_engine
from kernel.backends import backends
from kernel.errors import AtriumError
from substrate.scoping import tenant_scope
from tenants.models import Tenant, Webhook
from tenants.services import authenticate_key_now


def test_it_is_written_for_the_owner_alone_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    keyrings.write_keyring(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keyrings.read_keyring(path) == settings.KEYRING
    bare = tmp_path / "bare"
    bare.write_text(json.loads(path.read_text())["keyring"] + "\n")
    assert keyrings.read_keyring(bare) == settings.KEYRING


def test_fingerprints_tell_equal_secrets_and_nothing_else() -> None:
    mine = keyrings.fingerprints()
    assert keyrings.covers(mine, mine)
    assert not keyrings.covers(mine, keyrings.fingerprints({1: b"x" * 32}))
    assert not keyrings.covers(mine, {**mine, "2": "abc"})
    secret = base64.b64encode(settings.KEYRING[1]).decode()
    assert secret not in json.dumps(mine)


@pytest.mark.parametrize("text", ["", "{}", "1:notbase64", "0:" + "A" * 44, "1:QUJD", '{"keyring": 3}'])
def test_what_is_no_keyring(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keyring"
    path.write_text(text)
    with pytest.raises(NotABackup, match="no keyring"):
        keyrings.read_keyring(path)
    with pytest.raises(KeepingFailed, match="cannot be read"):
        keyrings.read_keyring(tmp_path / "missing")
    with pytest.raises(KeepingFailed, match="cannot be written"):
        keyrings.write_keyring(tmp_path / "no" / "folder")


def foreign(backup: Path, target: Path) -> Path:
    """The backup as an installation with another keyring would have made it."""

    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["keyring"] = keyrings.fingerprints({1: b"x" * 32})

    return tampered(backup, target, change)


def test_losses_are_told_before_anything_starts(library: Library, tmp_path: Path) -> None:
    make_key(library.tenant)
    register_engine(pool="p", model="m", url="http://127.0.0.1:9/v1", api_key="secret")
    backup = foreign(take(tmp_path / "backup.zip"), tmp_path / "foreign.zip")
    plans: list[Plan] = []
    restore(backup, tell=plans.append)
    assert plans[0].keyring == "other"
    assert "1 API keys of the backup will not work" in plans[0].losses[0]
    assert "http://127.0.0.1:9/v1" in plans[0].losses[1]

    wrong = tmp_path / "keyring"
    keyrings.write_keyring(wrong)
    restore(backup, tell=plans.append, ring=keyrings.read_keyring(wrong))
    assert plans[1].keyring == "other"
    assert "not the one of the backup" in plans[1].losses[0]


def test_the_keyring_given_is_put_in_place(library: Library, tmp_path: Path) -> None:
    make_key(library.tenant)
    backup = foreign(take(tmp_path / "backup.zip"), tmp_path / "foreign.zip")
    given = tmp_path / "given"
    given.write_text("1:" + base64.b64encode(b"x" * 32).decode())
    path = settings.ATRIUM.home / "keyring"
    usual = path.read_text()
    try:
        outcome = restore(backup, ring=keyrings.read_keyring(given))
        assert outcome.keyring == "given"
        assert outcome.losses == ()
        assert keyrings.read_keyring(path) == {1: b"x" * 32}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (path.parent / "keyring.before-restore").read_text() == usual
    finally:
        path.write_text(usual)


def test_what_else_another_keyring_loses_is_told(library: Library, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["keyring"] = keyrings.fingerprints({1: b"x" * 32})
        manifest["other_secrets"] = {
            "mfa.Authenticator": 2, "tenants.IdentityProvider": 3, "tenants.Webhook": 4
        }  # fmt: skip

    user = make_user()
    Authenticator.objects.create(user=user, type="totp", data={"secret": "sealed"})
    Authenticator.objects.create(user=user, type="recovery_codes", data={"seed": "sealed"})
    with tenant_scope(library.tenant.id):
        Webhook.objects.create(name="ops", url="https://hooks.example.com/in", secret="sealed")
    backup = take(tmp_path / "backup.zip")
    reader = Reader(backup)
    assert reader.head.other_secrets["mfa.Authenticator"] == 1
    assert reader.head.other_secrets["tenants.Webhook"] == 1
    reader.close()
    losses = make_plan(read_head(json.loads(json.dumps(asdict(reader.head))))).losses
    assert losses == ()
    plans: list[Plan] = []
    restore(tampered(backup, tmp_path / "foreign.zip", change), tell=plans.append)
    told = " ".join(plans[0].losses)
    for each in ("2 people's codes", "3 identity providers' client secrets", "4 webhooks' secrets"):
        assert each in told


def test_a_keyring_that_cannot_be_written_is_a_failure_before_anything_is_changed(
    library: Library, tmp_path: Path
) -> None:
    backup = foreign(take(tmp_path / "backup.zip"), tmp_path / "foreign.zip")
    key = make_key(library.tenant)
    # A folder stands where the file would go: root writes wherever there is room.
    (settings.ATRIUM.home / keyrings.PREPARED / "x").mkdir(parents=True)
    with pytest.raises(KeepingFailed, match="cannot be written"):
        restore(backup, ring={1: b"x" * 32})
    assert authenticate_key_now(key.key).tenant_id == library.tenant.id


def test_what_fails_after_the_commit_is_a_loss_and_no_failure(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = (settings.ATRIUM.home / "keyring").read_text()
    backup = foreign(take(tmp_path / "backup.zip"), tmp_path / "foreign.zip")
    key = make_key(library.tenant)

    def fails(prepared: Path) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(keyrings, "put_in_place", fails)
    outcome = restore(backup, ring={1: b"x" * 32})
    assert [loss.partition(":")[0] for loss in outcome.losses] == [
        "The backup's keyring could not be put in place"
    ]
    with pytest.raises(AtriumError):
        authenticate_key_now(key.key)
    # The old one is in use; the new one lies ready, as the loss says.
    assert (settings.ATRIUM.home / "keyring").read_text() == usual
    assert keyrings.read_keyring(settings.ATRIUM.home / keyrings.PREPARED) == {1: b"x" * 32}
    assert "is in place" not in Command().say(asdict(outcome))
    assert outcome.losses[0] in Command().say(asdict(outcome))


def test_the_keyring_is_in_place_before_old_files_are_cleared_away(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clearing may take minutes, and may be told to stop: the restore is done all the same, and says so."""
    backup = foreign(take(tmp_path / "backup.zip"), tmp_path / "foreign.zip")
    make_tenant("after-the-backup")
    seen: list[dict[int, bytes]] = []

    def is_stopped(work: object, tenant_id: object) -> None:
        seen.append(keyrings.read_keyring(settings.ATRIUM.home / "keyring"))
        raise Stopped("SIGTERM")

    monkeypatch.setattr(type(backends["vector_archive"]), "forget_tenant", is_stopped)
    outcome = restore(backup, ring={1: b"x" * 32})
    assert seen == [{1: b"x" * 32}]
    assert outcome.keyring == "given"
    assert [loss[:28] for loss in outcome.losses] == ["Files and vectors of tenants"]
    assert not Tenant.objects.filter(slug="after-the-backup").exists()


def test_a_step_that_is_needed_is_done_though_the_process_is_told_to_end() -> None:
    after, done = Aftermath(), []

    def once() -> None:
        done.append(1)
        if len(done) == 1:
            raise Stopped("SIGTERM")

    after.step(once, "lost", needed=True)
    after.step(lambda: done.append(2), "not done")
    after.step(lambda: done.append(3), "lost", needed=True)
    assert (done, after.losses) == ([1, 1, 3], ["not done"])
