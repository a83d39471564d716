"""The keyring is kept apart; without it a restore says what will not work before it starts."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from factories.tenants import make_key
from fakes.backups import restore, take, tampered
from fakes.library import Library

from config.keeping import keyrings
from config.keeping.failures import KeepingFailed, NotABackup
from config.keeping.plan import Plan
from inference.services import register_engine


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
