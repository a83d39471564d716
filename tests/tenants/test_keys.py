"""API keys as text, their checks, and what a wrong one costs."""

import hmac
import re
from typing import Any

import pytest
from factories.tenants import make_key as issue
from factories.tenants import make_tenant
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import BadInput, NotSignedIn
from substrate.crossing import system_scope, system_scope_uses
from tenants.keys import CHECK_LENGTH, checksum, make_key, prefix_of
from tenants.models import ApiKey
from tenants.services import authenticate_key_now, issue_api_key
from tenants.services import sign_in as sign_in_module


def test_the_form_of_a_key() -> None:
    made = make_key()
    assert re.fullmatch(r"atr_[0-9A-Za-z]{10}_[0-9A-Za-z]{46}", made.key)
    assert prefix_of(made.key) == made.prefix
    assert len({make_key().key for _ in range(1000)}) == 1000


def test_the_check_is_crc32_in_base62() -> None:
    # The check value of CRC-32, read back from base62.
    number = 0xCBF43926
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    expected = 0
    for character in checksum("123456789"):
        expected = expected * 62 + alphabet.index(character)
    assert expected == number


@given(
    st.integers(0, 60), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_- é")
)
def test_one_wrong_character_is_seen_without_a_database(position: int, character: str) -> None:
    key = make_key().key
    wrong = key[:position] + character + key[position + 1 :]
    assert prefix_of(wrong) is None or wrong == key


@given(st.text(max_size=80))
def test_any_text_is_answered(text: str) -> None:
    assert prefix_of(text) is None
    assert prefix_of("atr_" + text) is None


@pytest.mark.django_db
def test_hit_and_miss_take_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known prefix with a wrong secret and an unknown prefix both compute the HMAC and compare in constant time."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(left: Any, right: Any) -> bool:
        compared.append((len(left), len(right)))
        return real(left, right)

    monkeypatch.setattr(sign_in_module.hmac, "compare_digest", compare)
    known = issue(make_tenant())
    body = make_key().key[:-CHECK_LENGTH]
    wrong_secret = f"atr_{known.prefix}" + body[len("atr_") + 10 :]
    for key in (body, wrong_secret):
        with pytest.raises(NotSignedIn):
            authenticate_key_now(key + checksum(key))
    # How it looks to this process, which has seen neither, then its fingerprint.
    assert compared == [(16, 0), (64, 64)] * 2


@pytest.mark.django_db
def test_a_wrong_check_never_reaches_the_database() -> None:
    before = system_scope_uses["look up API keys"]
    with pytest.raises(NotSignedIn):
        authenticate_key_now(make_key().key[:-1] + "_")
    assert system_scope_uses["look up API keys"] == before


@pytest.mark.django_db
def test_only_a_fingerprint_is_stored() -> None:
    issued = issue(make_tenant())
    with system_scope("tests"):
        row = ApiKey.objects.get(id=issued.id)
    assert len(row.fingerprint) == 64
    secret = issued.key.split("_")[2]
    assert all(secret not in str(value) for value in vars(row).values())
    assert issued.key not in repr(issued)


@pytest.mark.django_db
@pytest.mark.parametrize("values", [{"name": " "}, {"name": "x" * 201}, {"name": "x", "role": "king"}])
def test_bad_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        issue_api_key(tenant_id=make_tenant().id, **values)
