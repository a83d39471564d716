"""Identifiers: what they look like, and what is refused from outside."""

import os
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import (
    PIECES,
    accept_request_id,
    make_traceparent,
    new_ids,
    new_request_id,
    new_trace_id,
    parse_traceparent,
    parse_uuid,
    uuid7,
)

RANDOM_BITS = (1 << 62) - 1
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_uuid7_has_version_variant_and_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= after


def test_uuid7s_differ_and_sort_by_time() -> None:
    early = uuid7()
    time.sleep(0.002)
    assert early < uuid7()
    assert len({uuid7() for _ in range(2_000)}) == 2_000


@pytest.mark.parametrize("text", ["", "7", "not-a-uuid", None, 7, "019aaf00-0000-7000-8000-00000000000g"])
def test_what_is_no_uuid_is_none(text: str) -> None:
    assert parse_uuid(text) is None


@given(st.uuids())
def test_a_uuid_is_read_back(value: uuid.UUID) -> None:
    assert parse_uuid(str(value)) == value


@pytest.mark.parametrize("offered", ["request-0001", "a" * 128, "A.b_c-d.e"])
def test_a_well_formed_request_id_is_kept(offered: str) -> None:
    assert accept_request_id(offered) == offered


@pytest.mark.parametrize(
    "offered", [None, "", "short", "a" * 129, "with space 1", "line-end\n", "ü" * 10, "x;y;z;1;2"]
)
def test_any_other_request_id_is_replaced(offered: str | None) -> None:
    given_back = accept_request_id(offered)
    assert given_back != offered
    assert len(given_back) == 32


def test_request_ids_are_unguessable_in_number() -> None:
    assert len({new_request_id() for _ in range(500)} | {new_trace_id() for _ in range(500)}) == 1_000


def test_traceparent_round_trip() -> None:
    assert parse_traceparent(make_traceparent(TRACE)) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"01-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\n",
    ],
)
def test_a_malformed_traceparent_is_none(header: str | None) -> None:
    assert parse_traceparent(header) is None


def test_a_forked_child_makes_other_ids() -> None:
    uuid7(), new_ids()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, f"{uuid7().int & RANDOM_BITS:x} {' '.join(new_ids())}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = set(os.read(reading, 4096).decode().split())
    os.close(reading)
    os.close(writing)
    mine = {f"{uuid7().int & RANDOM_BITS:x}" for _ in range(PIECES)}
    mine.update(id for _ in range(PIECES) for id in new_ids())
    assert len(theirs) == 4
    assert not theirs & mine


def test_ids_are_all_different() -> None:
    many = [id for _ in range(3 * PIECES) for id in new_ids()]
    assert len(set(many)) == len(many)
    assert {len(id) for id in many} == {32, 16}
