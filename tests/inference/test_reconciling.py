"""What a source says becomes rows, and leaves what people registered alone."""

import uuid
from collections.abc import Sequence

import pytest
from fakes.clocks import FrozenClock

from inference.models import Model, PoolSource, Replica
from inference.rosters import DRAIN_S, HEARD_S
from inference.selectors import load_specs
from inference.services import (
    FollowedPool,
    change_replica,
    create_model,
    create_pool,
    load_followed_pools,
    note_look,
    reconcile_pool,
    register_engine,
    set_source,
)
from inference.services.reconciling import Reconciled
from inference.sources import Found, Presence, Roster
from inference.types import ModelKind
from kernel.errors import BadInput
from substrate.models import Change, PlatformAct

pytestmark = pytest.mark.django_db
DOCUMENT = {
    "kind": "dns",
    "model": "org/tiny",
    "served_name": "tiny",
    "max_concurrency": 7,
    "vllm": False,
    "name": "vllm.test",
    "port": 8000,
}


@pytest.fixture
def pool() -> FollowedPool:
    create_model(model_id="org/tiny", kind=ModelKind.EMBEDDING)
    set_source(pool_id=create_pool(name="gpu").id, document=DOCUMENT, api_key="sk-engines")
    (followed,) = load_followed_pools()
    return followed


class Desk:
    """Looks at a pool, one after the other."""

    def __init__(self, pool: FollowedPool) -> None:
        self.pool, self.clock = pool, FrozenClock()

    def look(
        self, *ports: int, leaving: Sequence[int] = (), calls: dict[str, int] | None = None
    ) -> Reconciled:
        found = [Found(url(port)) for port in ports] + [
            Found(url(port), Presence.LEAVING) for port in leaving
        ]
        return reconcile_pool(
            pool=self.pool,
            roster=Roster(tuple(found)),
            calls={} if calls is None else calls,
            clock=self.clock,
        )


def url(port: int) -> str:
    return f"http://10.0.0.1:{port}/v1"


def rows() -> dict[int, tuple[str, bool, bool]]:
    """By port: origin, whether it drains, whether it has vanished."""
    return {
        int(row.url.split(":")[2].removesuffix("/v1")): (
            row.origin,
            row.draining,
            row.vanished_at is not None,
        )
        for row in Replica.objects.all()
    }


def test_what_is_found_is_registered_as_the_source_says(pool: FollowedPool) -> None:
    assert Desk(pool).look(1, 2) == Reconciled(2, "", leaving=False)
    assert rows() == {1: ("dns", False, False), 2: ("dns", False, False)}
    (spec,) = [each for each in load_specs() if each.id == "org/tiny"]
    assert spec.kind is ModelKind.EMBEDDING
    replica = spec.replicas[0]
    assert (replica.served_name, replica.max_concurrency, replica.vllm) == ("tiny", 7, False)
    assert replica.api_key == "sk-engines"
    assert PlatformAct.objects.filter(kind="replica", act="created").count() == 2
    before = Change.objects.count()
    Desk(pool).look(1, 2)
    assert Change.objects.count() == before, "what is as it should be is not written"


def test_one_that_vanishes_drains_and_is_removed_when_its_calls_have_ended(pool: FollowedPool) -> None:
    desk = Desk(pool)
    desk.look(1, 2)
    assert desk.look(1).leaving
    assert rows() == {1: ("dns", False, False), 2: ("dns", True, True)}
    assert [each.replicas[0].url for each in load_specs() if each.replicas] == [url(1)]
    gone = str(Replica.objects.get(url=url(2)).id)
    desk.clock.advance(HEARD_S)
    desk.look(1, calls={gone: 1})
    assert 2 in rows()
    assert not desk.look(1).leaving
    assert list(rows()) == [1]
    acts = PlatformAct.objects.filter(kind="replica", object_id=gone).order_by("id")
    assert list(acts.values_list("act", flat=True)) == ["created", "drained", "deleted"]


def test_one_whose_calls_never_end_is_removed_in_the_end(pool: FollowedPool) -> None:
    desk = Desk(pool)
    desk.look(1, 2)
    desk.look(1)
    gone = str(Replica.objects.get(url=url(2)).id)
    desk.clock.advance(DRAIN_S)
    desk.look(1, calls={gone: 3})
    assert list(rows()) == [1]


def test_one_that_comes_back_serves_again_and_one_that_ends_drains(pool: FollowedPool) -> None:
    desk = Desk(pool)
    desk.look(1, 2)
    desk.look(1, leaving=[2])
    assert rows()[2] == ("dns", True, True)
    desk.look(1, 2)
    assert rows()[2] == ("dns", False, False)


def test_an_empty_answer_empties_nothing(pool: FollowedPool) -> None:
    desk = Desk(pool)
    desk.look(1, 2)
    for said in (desk.look(), desk.look(leaving=[1, 2])):
        assert said.found is None
        assert "names nobody" in said.remark
    assert rows() == {1: ("dns", False, False), 2: ("dns", False, False)}


def test_replicas_of_people_are_left_alone(pool: FollowedPool) -> None:
    register_engine(pool="gpu", model="org/tiny", url=url(1), max_concurrency=3)
    register_engine(pool="gpu", model="org/tiny", url=url(9))
    desk = Desk(pool)
    desk.look(1, 2)
    desk.look(2)
    assert rows() == {1: ("static", False, False), 9: ("static", False, False), 2: ("dns", False, False)}
    assert Replica.objects.get(url=url(1)).max_concurrency == 3


def test_what_a_person_drained_stays_drained_while_it_is_named(pool: FollowedPool) -> None:
    desk = Desk(pool)
    desk.look(1, 2)
    change_replica(replica_id=Replica.objects.get(url=url(2)).id, draining=True)
    desk.look(1, 2)
    assert rows()[2] == ("dns", True, False)


def test_addresses_that_are_never_an_engine_s_are_left_out(pool: FollowedPool) -> None:
    found = (Found("http://169.254.169.254:80/v1"), Found("http://[fe80::1]:80/v1"), Found(url(1)))
    said = reconcile_pool(pool=pool, roster=Roster(found), calls={})
    assert (said.found, "left out" in said.remark) == (1, True)
    assert list(rows()) == [1]


def test_a_model_that_is_gone_is_not_made_anew(pool: FollowedPool) -> None:
    Model.objects.filter(model_id="org/tiny").delete()
    with pytest.raises(BadInput, match="make it first"):
        Desk(pool).look(1)
    assert not Model.objects.filter(model_id="org/tiny").exists()


def test_another_source_drains_what_it_does_not_name_and_by_hand_keeps_it(pool: FollowedPool) -> None:
    Desk(pool).look(1, 2)
    set_source(pool_id=pool.id, document={"kind": "kubernetes", "model": "org/tiny", "service": "vllm"})
    (followed,) = load_followed_pools()
    assert followed.version != pool.version
    Desk(followed).look(2, 3)
    assert rows() == {1: ("dns", True, True), 2: ("dns", False, False), 3: ("kubernetes", False, False)}
    set_source(pool_id=pool.id, document={"kind": "static"})
    assert load_followed_pools() == []
    assert rows() == {1: ("static", True, False), 2: ("static", False, False), 3: ("static", False, False)}


def test_another_key_reaches_what_was_found_before(pool: FollowedPool) -> None:
    Desk(pool).look(1)
    set_source(pool_id=pool.id, document=DOCUMENT, api_key="sk-other")
    (spec,) = [each for each in load_specs() if each.id == "org/tiny"]
    assert spec.replicas[0].api_key == "sk-other"
    set_source(pool_id=pool.id, document=DOCUMENT, api_key="")
    assert not Replica.objects.get().api_key
    assert "sk-" not in PoolSource.objects.get().api_key
    assert not [act for act in PlatformAct.objects.all() if "sk-" in f"{act.before}{act.after}"]


def test_what_came_of_it_is_written_without_another_version(pool: FollowedPool) -> None:
    clock = FrozenClock()
    note_look(pool=pool, found=3, problem="", clock=clock)
    row = PoolSource.objects.get()
    assert (row.found, row.discovered_at, row.problem) == (3, clock.now(), "")
    clock.advance(60)
    note_look(pool=pool, found=None, problem="x" * 400, clock=clock)
    row.refresh_from_db()
    assert (row.found, len(row.problem)) == (3, 300)
    assert row.discovered_at != clock.now()
    (again,) = load_followed_pools()
    assert again == pool
    set_source(pool_id=pool.id, document={**DOCUMENT, "port": 9000})
    note_look(pool=pool, found=5, problem="")
    assert PoolSource.objects.get().found == 0, "the look of another source"
    gone = FollowedPool(uuid.uuid4(), "gone", pool.source, pool.version)
    note_look(pool=gone, found=5, problem="")
