"""Prices that are set ahead: who may plan them, what is refused, and that they hold from their very moment."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from fakes.clocks import FrozenClock
from fakes.engines import model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.models import Model, PriceChange
from inference.selectors import load_specs
from inference.services import (
    change_model,
    change_planned_price,
    create_model,
    get_model,
    list_models,
    plan_price,
    price,
    register_engine,
    withdraw_price,
)
from inference.types import MAX_PLANNED_PRICES, PlannedPrice, TokenUsage
from kernel.backends import backends
from kernel.errors import BadInput, Conflict
from kernel.ids import uuid7
from substrate.audit import acts_everywhere
from substrate.units import run_unit
from tenants.types import Role

URL = "http://127.0.0.1:8101/v1"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.fixture
def operator() -> Client:
    return session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    return client.generic(
        method.upper(), f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers
    )


def fields_of(refused: Any) -> set[str]:
    """What the refusal says is wrong."""
    told = refused.json()
    return {*told.get("errors", {}), *filter(None, [told.get("param")])}


def soon(**step: float) -> str:
    return (datetime.now(UTC) + timedelta(**step)).isoformat()


def planned(model: str = "tiny", **fields: object) -> dict[str, object]:
    return {"model": model, "input_price": "5", "output_price": "6", "valid_from": soon(hours=1), **fields}


@pytest.mark.django_db
class TestByRest:
    """What an operator does with prices."""

    def test_a_price_is_planned_changed_and_withdrawn(self, operator: Client) -> None:
        register_engine(pool="gpu", model="tiny", url=URL, input_price="1", output_price="2")
        made = send(operator, "post", "model-prices", planned())
        assert made.status_code == 201, made.content
        told = made.json()
        assert (told["state"], told["input_price"], told["output_price"]) == ("planned", "5", "6")
        path = f"model-prices/{told['id']}"
        changed = send(operator, "patch", path, {"input_price": "4.5"}, **{"if-match": made["ETag"]})
        assert (changed.status_code, changed.json()["input_price"], changed.json()["output_price"]) == (
            200,
            "4.5",
            "6",
        )
        assert send(operator, "delete", path, **{"if-match": made["ETag"]}).status_code == 412
        listed = operator.get("/api/v1/model-prices?model=tiny").json()["results"]
        assert [(each["state"], each["input_price"]) for each in listed] == [
            ("planned", "4.5"),
            ("in_force", "1"),
        ]
        # Nothing of it holds yet.
        assert operator.get("/api/v1/models/tiny").json()["input_price"] == "1"
        assert send(operator, "delete", path).status_code == 204
        assert send(operator, "delete", path).status_code == 404
        acts = [each for each in acts_everywhere(limit=10) if each.kind == "price"]
        assert [(each.act, each.label) for each in acts] == [
            ("withdrawn", "tiny"),
            ("changed", "tiny"),
            ("planned", "tiny"),
        ]
        assert (acts[1].before["input_price_nano"], acts[1].after["input_price_nano"]) == (5000, 4500)

    def test_the_price_until_then_is_listed_too(self, operator: Client) -> None:
        Model.objects.create(model_id="old", kind="chat", input_price_nano=1500)
        assert send(operator, "post", "model-prices", planned("old")).status_code == 201
        listed = operator.get("/api/v1/model-prices?model=old").json()["results"]
        assert [(each["state"], each["input_price"]) for each in listed] == [
            ("planned", "5"),
            ("in_force", "1.5"),
        ]

    @pytest.mark.parametrize(
        ("body", "field", "status"),
        [
            ({"valid_from": "2020-01-01T00:00:00Z"}, "valid_from", 400),
            ({"valid_from": "2926-01-01T00:00:00Z"}, "valid_from", 400),
            ({"valid_from": "noon"}, "valid_from", 400),
            ({"input_price": "-1"}, "input_price", 400),
            ({"output_price": "0.0001"}, "output_price", 400),
            ({"colour": "red"}, "colour", 400),
            ({"model": "nobody"}, "model", 404),
        ],
    )
    def test_what_cannot_be_is_refused_at_its_field(
        self, operator: Client, body: dict[str, object], field: str, status: int
    ) -> None:
        register_engine(pool="gpu", model="tiny", url=URL)
        refused = send(operator, "post", "model-prices", planned(**body))
        assert refused.status_code == status
        assert field in fields_of(refused)
        assert not PriceChange.objects.filter(valid_from__gt=datetime.now(UTC)).exists()

    def test_one_price_begins_at_a_moment(self, operator: Client) -> None:
        register_engine(pool="gpu", model="tiny", url=URL)
        register_engine(pool="gpu", model="other", url=URL)
        at, later = soon(hours=1), soon(hours=2)
        assert send(operator, "post", "model-prices", planned(valid_from=at)).status_code == 201
        refused = send(operator, "post", "model-prices", planned(valid_from=at))
        assert (refused.status_code, fields_of(refused)) == (409, {"valid_from"})
        assert send(operator, "post", "model-prices", planned("other", valid_from=at)).status_code == 201
        second = send(operator, "post", "model-prices", planned(valid_from=later)).json()
        moved = send(operator, "patch", f"model-prices/{second['id']}", {"valid_from": at})
        assert moved.status_code == 409

    def test_planning_is_the_operators_business(self) -> None:
        create_model(model_id="tiny")
        made = plan_price(
            model="tiny", input_price="1", output_price="1", valid_from=datetime.now(UTC) + timedelta(hours=1)
        )
        owner = key_client(make_tenant(), role=Role.OWNER)
        assert send(owner, "post", "model-prices", planned()).status_code == 403
        for method in ("patch", "delete"):
            assert send(owner, method, f"model-prices/{made.id}", {"input_price": "0"}).status_code == 403
        assert PriceChange.objects.get(id=made.id).input_price_nano == 1000

    def test_no_such_price(self, operator: Client) -> None:
        for id in (uuid7(), "none"):
            assert send(operator, "patch", f"model-prices/{id}", {}).status_code == 404


@pytest.mark.django_db
class TestAroundItsMoment:
    """What is done just before and after a planned price comes into force."""

    def test_in_its_last_seconds_it_stays_as_it_is(self) -> None:
        create_model(model_id="tiny", input_price="1")
        clock = FrozenClock(datetime.now(UTC))
        at = clock.now() + timedelta(seconds=10)
        made = plan_price(model="tiny", input_price="5", output_price="6", valid_from=at, clock=clock)
        clock.advance(0.001)
        with pytest.raises(Conflict):
            change_planned_price(price_id=made.id, input_price="0", clock=clock)
        with pytest.raises(Conflict):
            withdraw_price(price_id=made.id, clock=clock)
        with pytest.raises(BadInput):
            plan_price(model="tiny", input_price="0", output_price="0", valid_from=at, clock=clock)

    def test_so_many_at_once_are_enough(self) -> None:
        create_model(model_id="tiny")
        now = datetime.now(UTC)
        for number in range(1, MAX_PLANNED_PRICES + 1):
            plan_price(
                model="tiny", input_price="1", output_price="1", valid_from=now + timedelta(hours=number)
            )
        with pytest.raises(Conflict):
            plan_price(model="tiny", input_price="1", output_price="1", valid_from=now + timedelta(days=90))

    def test_a_change_at_once_begins_from_the_price_in_force(self, operator: Client) -> None:
        create_model(model_id="tiny", input_price="1", output_price="2")
        row = Model.objects.get(model_id="tiny")
        then = datetime.now(UTC) - timedelta(hours=1)
        PriceChange.objects.filter(model=row).update(valid_from=then - timedelta(hours=1))
        PriceChange.objects.create(model=row, input_price_nano=5000, output_price_nano=6000, valid_from=then)
        assert operator.get("/api/v1/models/tiny").json()["input_price"] == "5"
        listed = operator.get("/api/v1/models?sort=-input_price").json()["results"]
        assert listed[0]["id"] == "tiny"
        # Only the tier is changed: the price that has come meanwhile stays, and nothing new is written of it.
        assert change_model(model_id="tiny", output_price="6").output_price == "6"
        assert PriceChange.objects.filter(model=row).count() == 2
        # Back to what the row said before: a change like any other.
        assert change_model(model_id="tiny", input_price="1").output_price == "6"
        (spec,) = load_specs()
        assert (spec.input_price_nano, spec.output_price_nano) == (1000, 6000)

    def test_every_process_prices_by_its_clock(self) -> None:
        create_model(model_id="tiny", input_price="1", output_price="2")
        at = datetime.now(UTC) + timedelta(hours=1)
        plan_price(model="tiny", input_price="5", output_price="6", valid_from=at)
        plan_price(model="tiny", input_price="7", output_price="8", valid_from=at + timedelta(hours=1))
        for moment, expected, left in (
            (at - TICK, 1000, 2),
            (at, 5000, 1),
            (at + timedelta(hours=1), 7000, 0),
        ):
            # One that loads at that moment, and one that has held the model since before.
            (fresh,) = load_specs(moment)
            held = load_specs(at - timedelta(minutes=30))[0].priced_at(moment)
            assert fresh == held
            assert (fresh.input_price_nano, len(fresh.planned)) == (expected, left)


@pytest.fixture
async def held() -> AsyncIterator[FrozenClock]:
    """A directory that holds a model whose next price begins at NOON; its clock stands just before."""
    clock = FrozenClock(NOON - TICK)
    directory = ModelDirectory(clock=clock)
    backends.replace("model_directory", directory)
    later = (PlannedPrice(NOON, 20, 30), PlannedPrice(NOON + timedelta(hours=1), 0, 0))
    directory.show((model_spec("tiny", replica_spec("r1"), planned=later),))
    yield clock
    await backends.close()


class TestOnTheDataPlane:
    """What is in memory is priced by the clock alone."""

    async def test_to_the_microsecond_without_a_load(self, held: FrozenClock) -> None:
        usage = TokenUsage(10, 1)
        before = get_model("tiny")
        assert price(before, usage) == 23
        held.advance(TICK)
        assert price(get_model("tiny"), usage) == 230
        assert [price(each, usage) for each in list_models()] == [230]
        # What was taken before costs what it did then.
        assert price(before, usage) == 23
        held.advance(timedelta(hours=1))
        assert price(get_model("tiny"), usage) == 0

    @pytest.mark.django_db(transaction=True)
    async def test_a_load_goes_by_the_same_clock(self) -> None:
        await run_unit(_plan_at_noon)
        clock = FrozenClock(NOON - TICK)
        directory = ModelDirectory(clock=clock)
        await directory.start()
        assert directory.priced(directory.snapshot.models["tiny"]).input_price_nano == 1000
        clock.advance(TICK)
        assert directory.priced(directory.snapshot.models["tiny"]).input_price_nano == 5000
        await directory.close()


def _plan_at_noon() -> None:
    row = Model.objects.create(model_id="tiny", kind="chat", input_price_nano=1000)
    PriceChange.objects.create(model=row, input_price_nano=5000, output_price_nano=0, valid_from=NOON)
