"""Two people edit one thing: the second is told."""

from datetime import UTC, datetime, timedelta

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from kernel.errors import BadInput, Stale
from substrate.versions import check_version, expected_version, version_of

THEN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def asked(header: str | None) -> str | None:
    headers = {} if header is None else {"If-Match": header}
    return expected_version(Request(APIRequestFactory().get("/", headers=headers)))


def test_the_same_change_has_the_same_version_and_the_next_another() -> None:
    assert version_of(THEN) == version_of(THEN)
    assert version_of(THEN) != version_of(THEN + timedelta(microseconds=1))


@pytest.mark.parametrize("header", ['"{}"', 'W/"{}"', "{}"])
def test_a_version_comes_back_in_any_spelling_of_an_etag(header: str) -> None:
    assert asked(header.format(version_of(THEN))) == version_of(THEN)


@pytest.mark.parametrize("header", [None, "", "*"])
def test_without_a_version_any_will_do(header: str | None) -> None:
    assert asked(header) is None
    check_version(THEN, None)


@pytest.mark.parametrize("header", ['"a", "b"', '"' + "f" * 65 + '"', '"; drop"'])
def test_what_is_no_version_is_refused(header: str) -> None:
    with pytest.raises(BadInput):
        asked(header)


def test_a_stale_version_is_refused_and_the_right_one_passes() -> None:
    check_version(THEN, version_of(THEN))
    with pytest.raises(Stale):
        check_version(THEN + timedelta(seconds=1), version_of(THEN))
