"""Limits of what is kept, on PostgreSQL: those who write at once never pass them, at any level."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.library import Library
from fakes.postgresql import fresh_database, library_on_postgresql
from fakes.stock_contract import (
    test_each_user_has_a_last_place_of_their_own,
    test_the_last_place_of_a_group_is_given_once,
    test_the_strictest_of_all_levels_holds,
    test_who_restores_and_who_uploads_share_the_last_place,
)

__all__ = [
    "test_each_user_has_a_last_place_of_their_own",
    "test_the_last_place_of_a_group_is_given_once",
    "test_the_strictest_of_all_levels_holds",
    "test_who_restores_and_who_uploads_share_the_last_place",
]

pytestmark = pytest.mark.services


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with library_on_postgresql(tmp_path) as made:
        yield made
