"""Idempotency records: once per tenant, key and route, also when two come at the same moment."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from factories.tenants import make_tenant
from fakes.clocks import FrozenClock

from kernel.clock import SYSTEM_CLOCK
from kernel.errors import Conflict
from substrate.crossing import system_scope
from substrate.idempotency import (
    ABANDONED,
    KEEP,
    StoredAnswer,
    begin_once,
    finish_once,
    forget_old_records,
    forget_once,
)
from substrate.models import IdempotencyRecord

pytestmark = pytest.mark.django_db
ROUTE = "/api/v1/knowledge-bases"


@pytest.fixture
def tenant_id() -> uuid.UUID:
    return make_tenant().id


@pytest.fixture
def later() -> FrozenClock:
    return FrozenClock(SYSTEM_CLOCK.now())


def begin(
    tenant_id: uuid.UUID,
    *,
    key: str = "key-1",
    route: str = ROUTE,
    body: str = "same",
    clock: FrozenClock | None = None,
) -> StoredAnswer | None:
    return begin_once(tenant_id=tenant_id, key=key, route=route, body_hash=body, clock=clock or SYSTEM_CLOCK)


def finish(tenant_id: uuid.UUID, *, status: int = 201, body: str = '{"id": "1"}') -> None:
    finish_once(tenant_id=tenant_id, key="key-1", route=ROUTE, status=status, body=body)


def test_the_first_time_is_free_and_the_second_gets_the_answer(tenant_id: uuid.UUID) -> None:
    assert begin(tenant_id) is None
    finish(tenant_id)
    assert begin(tenant_id) == begin(tenant_id) == StoredAnswer(201, {"id": "1"})


def test_an_answer_without_a_body_is_one_too(tenant_id: uuid.UUID) -> None:
    begin(tenant_id)
    finish(tenant_id, status=204, body="")
    assert begin(tenant_id) == StoredAnswer(204, None)


def test_another_body_under_the_same_key_is_refused(tenant_id: uuid.UUID) -> None:
    begin(tenant_id)
    for _ in range(2):
        with pytest.raises(Conflict) as raised:
            begin(tenant_id, body="other")
        assert raised.value.code == "idempotency_key_reused"
        finish(tenant_id)


def test_while_the_first_is_at_work_the_second_is_told_to_wait(tenant_id: uuid.UUID) -> None:
    begin(tenant_id)
    with pytest.raises(Conflict) as raised:
        begin(tenant_id)
    assert raised.value.retry_after_s == 1.0


def test_keys_are_per_tenant_and_route(tenant_id: uuid.UUID) -> None:
    begin(tenant_id)
    finish(tenant_id)
    assert begin(make_tenant().id) is None
    assert begin(tenant_id, route="/api/v1/assistants") is None
    assert begin(tenant_id, key="key-2") is None


def test_a_failure_of_ours_frees_the_key_and_an_answer_stays(tenant_id: uuid.UUID) -> None:
    begin(tenant_id)
    forget_once(tenant_id=tenant_id, key="key-1", route=ROUTE)
    assert begin(tenant_id, body="other") is None
    finish_once(tenant_id=tenant_id, key="key-1", route=ROUTE, status=201, body="{}")
    forget_once(tenant_id=tenant_id, key="key-1", route=ROUTE)
    assert begin(tenant_id, body="other") == StoredAnswer(201, {})


def test_a_first_request_that_died_frees_the_key(tenant_id: uuid.UUID, later: FrozenClock) -> None:
    begin(tenant_id)
    later.advance(ABANDONED - timedelta(seconds=5))
    with pytest.raises(Conflict):
        begin(tenant_id, clock=later)
    later.advance(10)
    assert begin(tenant_id, clock=later) is None


def test_answers_are_kept_for_a_day(tenant_id: uuid.UUID, later: FrozenClock) -> None:
    begin(tenant_id)
    finish(tenant_id)
    later.advance(KEEP - timedelta(seconds=5))
    assert begin(tenant_id, clock=later) is not None
    assert forget_old_records(clock=later) == 0
    later.advance(10)
    assert forget_old_records(clock=later) == 1
    with system_scope("test", read_only=True):
        assert IdempotencyRecord.objects.count() == 0


@pytest.fixture
def racers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.mark.django_db(transaction=True)
def test_of_many_at_the_same_moment_one_is_first(tenant_id: uuid.UUID, racers: ThreadPoolExecutor) -> None:
    line = threading.Barrier(8, timeout=10)

    def race(number: int) -> str:
        line.wait()
        try:
            return "first" if begin(tenant_id) is None else "stored"
        except Conflict:
            return "wait"
        finally:
            connections.close_all()

    for _ in range(5):
        assert sorted(racers.map(race, range(8))) == ["first"] + ["wait"] * 7
        forget_once(tenant_id=tenant_id, key="key-1", route=ROUTE)
