"""What routing keeps, on real PostgreSQL: who follows sources, comparisons of copies, policies and the platform's default."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from factories.pairs import make_pair
from factories.tenants import key_client, make_principal, make_tenant
from fakes.clocks import FrozenClock
from fakes.discovery import PaperDiscovery
from fakes.postgresql import fresh_database

from inference.models import PoolSource, Replica
from inference.rosters import HEARD_S
from inference.services import create_model, create_pool, ensure_built_in_models, set_source
from kernel.backends import backends
from routing.models import ChoicePolicy
from routing.selectors import load_policy, platform_says
from routing.services import ReplicaFinder, compare_models, set_default, set_policy
from substrate.scoping import tenant_scope
from substrate.units import close_units
from tenants.models import ShadowPair, Tenant
from tenants.services.shadow_pairs import store_pairs
from tenants.types import PairState, Role

pytestmark = pytest.mark.services
DNS = {"kind": "dns", "model": "org/found", "name": "vllm.test", "port": 8000}


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    """A new database for this module."""
    with fresh_database(django_db_blocker):
        ensure_built_in_models()
        create_model(model_id="org/found")
        yield


def tenant() -> Tenant:
    return make_tenant(f"t-{uuid.uuid4().hex[:8]}")


@pytest.fixture
async def source() -> AsyncIterator[PaperDiscovery]:
    def furnish() -> None:
        set_source(pool_id=create_pool(name=f"p-{uuid.uuid4().hex[:8]}").id, document=DNS)

    await sync_to_async(furnish)()
    made = PaperDiscovery(1, 2)
    backends.replace("discovery.dns", made)
    yield made
    await backends.close()
    close_units()
    await sync_to_async(
        lambda: (
            Replica.objects.filter(model__model_id="org/found").delete(),
            PoolSource.objects.all().delete(),
        )
    )()


async def look(finder: ReplicaFinder) -> bool:
    mine = await finder.look()
    for _ in range(20):
        await asyncio.sleep(0.01)
    await finder.look()
    return mine


async def ports() -> dict[int, bool]:
    """Ports of the replicas that were found, and whether they drain."""
    rows = await sync_to_async(
        lambda: list(Replica.objects.filter(model__model_id="org/found").values_list("url", "draining"))
    )()
    return {int(url.split(":")[2].removesuffix("/v1")): draining for url, draining in sorted(rows)}


async def test_what_a_source_says_is_registered_drained_and_removed(source: PaperDiscovery) -> None:
    clock = FrozenClock()
    finder = ReplicaFinder(clock=clock)
    assert await look(finder)
    assert await ports() == {1: False, 2: False}
    source.tell(2, 3)
    await look(finder)
    assert await ports() == {1: True, 2: False, 3: False}
    clock.advance(HEARD_S)
    await look(finder)
    assert await ports() == {2: False, 3: False}
    await finder.leave()


async def test_of_many_that_look_at_once_one_follows(source: PaperDiscovery) -> None:
    clock = FrozenClock()
    finders = [ReplicaFinder(clock=clock) for _ in range(4)]
    mine = await asyncio.gather(*(each.look() for each in finders))
    assert sum(mine) == 1
    holder = finders[mine.index(True)]
    await look(holder)
    assert source.begun == 1
    await holder.leave()
    others = [each for each in finders if each is not holder]
    assert sum(await asyncio.gather(*(each.look() for each in others))) == 1
    for each in others:
        await each.leave()


def test_comparisons_are_written_once_and_each_tenant_sees_its_own() -> None:
    mine, other, now = tenant(), tenant(), datetime.now(UTC)
    pairs = [
        make_pair(mine.id, started_at=now),
        make_pair(mine.id, state=PairState.DROPPED, error="busy", agreement=None, started_at=now),
        make_pair(other.id, model="theirs", started_at=now),
    ]
    store_pairs(pairs)
    # The spool gives what it is not sure of once more.
    store_pairs(pairs)
    (both,) = compare_models(principal=make_principal(mine, role=Role.ADMIN), period="24h").results
    assert (both.compared, both.dropped, dict(both.causes)) == (1, 1, {"busy": 1})
    with tenant_scope(mine.id, read_only=True):
        assert ShadowPair.objects.count() == 2
    assert (
        key_client(other, role=Role.ADMIN).get("/api/v1/routing/shadows").json()["results"][0]["model"]
        == "theirs"
    )


def test_policies_with_examples_and_what_is_inherited() -> None:
    mine, other = tenant(), tenant()
    examples = {"easy": ["Where is the canteen?"], "hard": ["Which clauses bind us?"]}
    assert not platform_says()
    operator = make_principal(mine, role=Role.OWNER, is_operator=True)
    set_default(principal=operator, document={"heavy_percent": 20, "examples": examples})
    admin = make_principal(mine, role=Role.ADMIN)
    own = set_policy(principal=admin, document={"heavy_percent": 70})
    assert (own.platform.heavy_percent, own.examples_in_use) == (20, True)
    found = {each.id: load_policy(each.id) for each in (mine, other)}
    assert {each.policy.heavy_percent for each in found.values() if each is not None} == {70, 20}
    for each in found.values():
        assert each is not None
        assert each.bank is not None
        assert each.bank.easy.shape == (1, 384)
    # Another tenant's row is not seen, whatever is asked for.
    with tenant_scope(other.id, read_only=True):
        assert ChoicePolicy.objects.count() == 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM routing_choicepolicy")
            assert cursor.fetchone() == (0,)
    set_default(principal=operator, document={})
    assert load_policy(other.id) is None
