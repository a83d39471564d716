"""The keyring: ciphertexts bound to their place, versions that live on, one key per purpose."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Internal
from substrate.keyring import Keyring, keyring

OLD, NEW = b"o" * 32, b"n" * 32
RING = Keyring({1: OLD, 2: NEW})


@given(st.text(), st.text(max_size=50))
def test_what_was_encrypted_is_decrypted_in_the_same_place(plain: str, context: str) -> None:
    assert RING.decrypt(RING.encrypt(plain, context=context), context=context) == plain


def test_the_same_secret_never_looks_the_same_twice() -> None:
    assert len({RING.encrypt("sk-1", context="c") for _ in range(100)}) == 100


def test_a_ciphertext_moved_to_another_place_is_refused() -> None:
    stored = RING.encrypt("sk-1", context="tenant-1/inference.replica/api_key")
    for context in ("tenant-2/inference.replica/api_key", "", "tenant-1/inference.replica/url"):
        with pytest.raises(Internal) as raised:
            RING.decrypt(stored, context=context)
        assert "sk-1" not in str(raised.value)


def test_a_changed_ciphertext_is_refused() -> None:
    version, _, payload = RING.encrypt("sk-1", context="c").partition(":")
    sealed = base64.b64decode(payload)
    for position in range(len(sealed)):
        changed = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(Internal):
            RING.decrypt(f"{version}:{base64.b64encode(changed).decode()}", context="c")


@pytest.mark.parametrize("stored", ["", "plain", "v2:", "v2:???", "v9:AAAA", "vx:AAAA", "v2:" + "A" * 12])
def test_rubbish_is_refused(stored: str) -> None:
    with pytest.raises(Internal):
        RING.decrypt(stored, context="c")


def test_old_ciphertexts_live_on_and_new_ones_use_the_newest() -> None:
    old = Keyring({1: OLD}).encrypt("sk-1", context="c")
    assert old.startswith("v1:")
    assert RING.decrypt(old, context="c") == "sk-1"
    assert RING.encrypt("sk-1", context="c").startswith("v2:")
    with pytest.raises(Internal):
        Keyring({2: NEW}).decrypt(old, context="c")


def test_fingerprints_depend_on_key_and_version() -> None:
    assert RING.fingerprint("atr_x") == RING.fingerprint("atr_x", version=2)
    assert Keyring({1: OLD}).fingerprint("atr_x") == RING.fingerprint("atr_x", version=1)
    assert len({RING.fingerprint(key, version=v) for key in ("atr_x", "atr_y") for v in (1, 2)}) == 4
    assert len(RING.fingerprint("atr_x")) == 64


def test_a_secret_looks_the_same_to_one_process_until_its_secrets_are_replaced() -> None:
    ring = Keyring({1: OLD})
    before = ring.sight("atr_x")
    assert (len(before), ring.sight("atr_x")) == (16, before)
    assert ring.sight("atr_y") != before
    assert Keyring({1: OLD}).sight("atr_x") != before
    ring.replace({1: OLD, 2: NEW})
    assert ring.sight("atr_x") != before


def test_purposes_do_not_share_a_key() -> None:
    texts = {
        RING.derive(purpose, text) for purpose in ("cache-salt", "api-key-pepper") for text in ("a", "b")
    }
    assert len(texts) == 4
    assert {len(each) for each in texts} == {32}
    assert RING.fingerprint("a") != RING.derive("api-key-pepper", "b").hex()


def test_versions_are_listed_from_the_newest() -> None:
    assert Keyring({1: OLD, 10: NEW, 2: OLD}).versions() == [10, 2, 1]
    assert Keyring({1: OLD, 10: NEW, 2: OLD}).newest == 10


def test_the_installation_has_one() -> None:
    assert keyring() is keyring()
    assert keyring().decrypt(keyring().encrypt("x", context="c"), context="c") == "x"
