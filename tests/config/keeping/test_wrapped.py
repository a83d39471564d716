"""A keyring under a passphrase opens by it alone, and not at all once anything in the file was changed."""

import base64
import json
from typing import Any

import pytest

from config.keeping.failures import NotABackup, WrongPassphrase
from config.keeping.wrapped import is_wrapped, unwrap, wrap

RING = {1: b"a" * 32, 3: b"b" * 32}
PASSPHRASE = "vier Züge ohne Bremse"
# As costly as tests can bear.
CHEAP = 2**14


def written(**changes: Any) -> str:
    """A file, some of whose values were changed since."""
    return json.dumps({**wrap(RING, PASSPHRASE, cost=CHEAP), **changes})


def test_there_and_back() -> None:
    text = written()
    assert is_wrapped(text)
    assert unwrap(text, PASSPHRASE) == RING
    # The same letters, composed otherwise: one keyboard writes ü as one sign, another as two.
    assert unwrap(text, PASSPHRASE.replace("ü", "u\u0308")) == RING
    for secret in RING.values():
        assert base64.b64encode(secret).decode() not in text
    assert written() != text


def test_it_costs_what_it_should() -> None:
    document = wrap(RING, PASSPHRASE)
    assert (document["kdf"], document["cost"], document["block"]) == ("scrypt", 2**17, 8)
    assert unwrap(json.dumps(document), PASSPHRASE) == RING


@pytest.mark.parametrize("passphrase", ["", "vier Züge", PASSPHRASE + " ", PASSPHRASE.upper()])
def test_another_passphrase(passphrase: str) -> None:
    with pytest.raises(WrongPassphrase) as told:
        unwrap(written(), passphrase)
    assert told.value.param == "passphrase"


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprints": {"1": "0" * 24}},
        {"salt": base64.b64encode(b"x" * 16).decode()},
        {"nonce": base64.b64encode(b"x" * 12).decode()},
        {"cost": 2**15},
        {"sealed": base64.b64encode(b"x" * 60).decode()},
        {"sealed": ""},
        {"note": "added"},
    ],
)
def test_what_was_changed_does_not_open(changes: dict[str, Any]) -> None:
    with pytest.raises(WrongPassphrase):
        unwrap(written(**changes), PASSPHRASE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "1:" + "A" * 44,
        "[" * 100_000,
        '{"atrium_keyring": 2}',
        written(cost=2**30),
        written(cost="many"),
        written(cost=0),
        written(cost=float(2**17)),
        written(block=8.0),
        written(block=2**20),
        written(lanes=10_000),
        written(kdf="md5"),
        written(cipher="none"),
        written(nonce=""),
        written(nonce=None),
        written(salt="???"),
        written(sealed=3),
        written(atrium_keyring=3),
    ],
)
def test_what_is_none_is_refused_before_anything_is_computed(text: str) -> None:
    with pytest.raises(NotABackup, match="no keyring"):
        unwrap(text, PASSPHRASE)
