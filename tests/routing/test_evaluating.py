"""Who decides about replicas: one of many, and another when it has died; what it sees and writes down."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fakes.clocks import FrozenClock
from fakes.fleets import PaperScaler

from inference.services import create_pool, ensure_models, register_engine
from inference.services.lookup import directory
from kernel.backends import BackendSpec, backends
from routing.models import ScalingDecision, ScalingTurn
from routing.scaling_types import ScalingPolicy
from routing.services import set_scaling
from routing.services.evaluating import TURN, PoolEvaluator, engines_of, promises
from routing.services.turns import give_turn_back
from routing.types import ReplicaSlots, Ticket
from substrate.units import run_unit
from tenants.types import PriorityClass

pytestmark = pytest.mark.django_db(transaction=True)
URLS = ("http://127.0.0.1:9101/v1", "http://127.0.0.1:9102/v1")


@pytest.fixture
async def gone() -> AsyncIterator[None]:
    yield
    await backends.close()


def furnish(**policy: object) -> None:
    pool = create_pool(name="gpu").id
    for url in URLS:
        register_engine(pool="gpu", model="org/tiny", url=url, max_concurrency=4)
    set_scaling(pool_id=pool, document={"mode": "dry_run", "minimum": 1, "maximum": 9, **policy})


@pytest.mark.usefixtures("gone")
async def test_one_of_two_decides_and_the_other_when_it_leaves() -> None:
    await run_unit(furnish)
    await ensure_models()
    clock = FrozenClock()
    one, other = PoolEvaluator(clock=clock), PoolEvaluator(clock=clock)
    assert await one.look()
    assert not await other.look()
    assert set(one.decisions) == {"gpu"}
    assert other.decisions == {}
    await one.leave()
    assert await other.look()
    assert not await one.look()
    assert one.decisions == {}, "who decides no more shows nothing"


@pytest.mark.usefixtures("gone")
async def test_it_sees_the_pool_and_writes_down_what_differs_and_once_a_minute() -> None:
    await run_unit(furnish, minimum=3)
    await ensure_models()
    clock = FrozenClock()
    evaluator = PoolEvaluator(clock=clock)
    for _ in range(24):
        assert await evaluator.look()
        clock.advance(5.0)
    decision = evaluator.decisions["gpu"]
    assert (decision.desired, decision.provisioned, decision.ready) == (3, 2, 2)
    rows = await run_unit(lambda: list(ScalingDecision.objects.order_by("id")))
    assert len(rows) == 2, "nothing has changed in two minutes"
    assert rows[0].reasons[-1] == {"why": "minimum", "replicas": 3.0}
    replicas = engines_of("gpu")
    directory().health.attempt_failed(replicas[0].id, "gone")
    for _ in range(3):
        directory().health.attempt_failed(replicas[0].id, "gone")
    await evaluator.look()
    assert evaluator.decisions["gpu"].ready == 1
    assert await run_unit(ScalingDecision.objects.count) == 3


@pytest.mark.usefixtures("gone")
async def test_work_that_waits_is_seen() -> None:
    await run_unit(furnish)
    await ensure_models()
    evaluator = PoolEvaluator(clock=FrozenClock())
    scheduler = backends["scheduler"]
    slots = tuple(ReplicaSlots(each.id, 1, uncached_tokens=500) for each in engines_of("gpu"))
    leases = [
        await scheduler.acquire(
            Ticket(str(n), "gpu", "t", PriorityClass.STANDARD, slots, 500, 100, wait_s=1.0)
        )
        for n in range(2)
    ]
    await evaluator.look()
    assert evaluator.decisions["gpu"].need > 0
    for lease in leases:
        await scheduler.release(lease)


@pytest.mark.usefixtures("gone")
async def test_a_pool_that_is_off_is_not_decided_about() -> None:
    await run_unit(furnish, mode="off")
    await ensure_models()
    evaluator = PoolEvaluator(clock=FrozenClock())
    assert await evaluator.look()
    assert evaluator.decisions == {}
    assert await run_unit(ScalingDecision.objects.count) == 0


@pytest.mark.usefixtures("gone")
async def test_promises_are_those_of_calls_of_late() -> None:
    await run_unit(furnish)
    await ensure_models()
    ready = engines_of("gpu")
    said = ScalingPolicy(ttft_ms=1000, tpot_ms=50)
    assert promises(said, ready, 100.0) == (0.0, 0.0)
    vital = directory().vitals.of(ready[0].id)
    vital.note_first(100.0, 1.5)
    vital.note_pace(101.0, 64, 64 * 0.04)
    assert promises(said, ready, 110.0) == (1.5, pytest.approx(0.8))
    assert promises(ScalingPolicy(), ready, 110.0) == (0.0, 0.0)
    assert promises(said, ready, 200.0) == (0.0, 0.0)


@pytest.fixture
def scaler() -> Iterator[PaperScaler]:
    """Engines on paper for the pool `gpu`."""
    found = PaperScaler("gpu")
    before = dict(backends.specs)
    backends.configure(
        {**before, "scaler": BackendSpec("inference.ports.Scaler", "fakes.fleets.PaperScaler")}
    )
    yield found
    backends.configure(before)


@pytest.mark.usefixtures("gone")
async def test_where_it_is_on_replicas_are_started_beside_those_of_people(scaler: PaperScaler) -> None:
    backends.replace("scaler", scaler)
    await run_unit(furnish, mode="on", minimum=3)
    await ensure_models()
    clock = FrozenClock()
    evaluator = PoolEvaluator(clock=clock)
    await evaluator.look()
    assert scaler.asked == [("gpu", 1, ())], "two are people's own"
    clock.advance(5.0)
    await evaluator.look()
    assert evaluator.decisions["gpu"].provisioned == 3
    assert len(scaler.asked) == 1, "the one on its way counts"


@pytest.mark.usefixtures("gone")
async def test_a_dry_run_asks_nobody_and_a_pool_without_scaler_says_so(scaler: PaperScaler) -> None:
    backends.replace("scaler", scaler)
    await run_unit(furnish, minimum=3)
    await ensure_models()
    await PoolEvaluator(clock=FrozenClock()).look()
    assert scaler.asked == []
    scaler.engines.clear()
    pool = await run_unit(lambda: ScalingDecision.objects.get().pool_id)
    await run_unit(set_scaling, pool_id=pool, document={"mode": "on", "minimum": 3, "maximum": 3})
    await run_unit(give_turn_back, name=TURN, owner=await run_unit(lambda: ScalingTurn.objects.get().owner))
    await PoolEvaluator(clock=FrozenClock()).look()
    last = await run_unit(lambda: ScalingDecision.objects.latest("id"))
    assert (last.mode, last.outcome) == ("on", "Nothing starts or stops replicas of this pool.")
