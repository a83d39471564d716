"""How engines come and go: rows, secrets, the change log, and the directory that follows it."""

import asyncio
import json
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError

from inference import selectors
from inference.directory import ModelDirectory
from inference.models import Model, Pool, Replica
from inference.services import built_in as built_in_module
from inference.services import (
    change_model,
    change_replica,
    create_model,
    create_pool,
    delete_model,
    delete_pool,
    delete_replica,
    drain_engine,
    embedder_fingerprint,
    ensure_built_in_models,
    ensure_configured_embeddings,
    get_model,
    list_models,
    register_engine,
    remove_engine,
)
from inference.types import ModelKind, ModelSpec, Tier
from kernel.backends import backends
from kernel.errors import BadInput, Conflict, ModelNotFound, NotFound
from substrate.changes import ChangeTail
from substrate.models import Change
from substrate.ports import ChangeEvent

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8101/v1"


def specs() -> dict[str, ModelSpec]:
    return {spec.id: spec for spec in selectors.load_specs()}


def changes() -> list[str]:
    return list(Change.objects.order_by("seq").values_list("kind", flat=True))


def test_registering_makes_model_pool_and_replica() -> None:
    register_engine(
        pool="gpu",
        model="org/tiny",
        url=f"{URL}/",
        served_name="tiny",
        api_key="engine-secret",
        max_concurrency=8,
        context_length=4096,
        region="eu",
        tier=Tier.HEAVY,
        input_price="0.15",
        output_price="0.6",
    )
    spec = specs()["org/tiny"]
    assert (spec.kind, spec.tier, spec.context_length) == (ModelKind.CHAT, Tier.HEAVY, 4096)
    assert (spec.input_price_nano, spec.output_price_nano) == (150, 600)
    (replica,) = spec.replicas
    assert (replica.pool, replica.url, replica.served_name, replica.max_concurrency) == (
        "gpu",
        URL,
        "tiny",
        8,
    )
    assert (replica.region, replica.engine, replica.vllm, replica.api_key) == (
        "eu",
        "openai",
        True,
        "engine-secret",
    )
    assert set(changes()) == {"model", "pool", "replica"}


def test_the_engines_key_is_stored_encrypted_and_bound_to_its_row() -> None:
    one = register_engine(pool="gpu", model="a", url=URL, api_key="engine-secret")
    two = register_engine(pool="gpu", model="b", url=URL, api_key="other-secret")
    rows = {row.id: row for row in Replica.objects.all()}
    assert "engine-secret" not in rows[one.id].api_key
    Replica.objects.filter(id=two.id).update(api_key=rows[one.id].api_key)
    # A stolen ciphertext does not open in another row; the other replicas stay in service.
    assert not specs()["b"].replicas
    assert specs()["a"].replicas[0].api_key == "engine-secret"
    assert "secret" not in repr(specs()["a"])


def test_registering_again_changes_only_what_is_said() -> None:
    first = register_engine(pool="gpu", model="a", url=URL, max_concurrency=8, input_price="1", api_key="k")
    again = register_engine(pool="gpu", model="a", url=URL, served_name="other")
    assert again.id == first.id
    (replica,) = specs()["a"].replicas
    assert (replica.max_concurrency, replica.served_name, replica.api_key) == (8, "other", "k")
    assert specs()["a"].input_price_nano == 1000
    assert Replica.objects.count() == 1


def test_a_model_keeps_its_kind() -> None:
    register_engine(pool="gpu", model="a", url=URL, kind=ModelKind.EMBEDDING)
    register_engine(pool="gpu", model="a", url=URL)
    assert specs()["a"].kind is ModelKind.EMBEDDING
    with pytest.raises(Conflict):
        register_engine(pool="gpu", model="a", url=URL, kind=ModelKind.CHAT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://x/v1"},
        {"model": "auto"},
        {"pool": "a b"},
        {"max_concurrency": 0},
        {"context_length": -1},
        {"input_price": "cheap"},
        {"api_key": "line\nend"},
        {"region": "a b"},
        {"served_name": ""},
    ],
)
def test_a_wrong_value_writes_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        register_engine(**{"pool": "gpu", "model": "a", "url": URL, **wrong})
    assert not Model.objects.exists()
    assert not Replica.objects.exists()
    assert changes() == []


def test_draining_takes_out_of_service_and_registering_brings_back() -> None:
    register_engine(pool="gpu", model="a", url=URL)
    register_engine(pool="gpu", model="b", url=URL)
    register_engine(pool="gpu", model="a", url="http://127.0.0.1:8102/v1")
    assert drain_engine(url=f"{URL}/") == 2
    assert [replica.url for replica in specs()["a"].replicas] == ["http://127.0.0.1:8102/v1"]
    assert not specs()["b"].replicas
    register_engine(pool="gpu", model="b", url=URL)
    assert specs()["b"].replicas


def test_removing_forgets_the_engine_and_keeps_the_model() -> None:
    register_engine(pool="gpu", model="a", url=URL)
    assert remove_engine(url=URL) == 1
    assert not specs()["a"].replicas
    for act in (remove_engine, drain_engine):
        with pytest.raises(NotFound):
            act(url=URL)


def test_built_in_models_are_made_once_and_cannot_be_removed() -> None:
    for _ in range(2):
        ensure_built_in_models()
    found = specs()
    assert set(found) == {"atrium-extractive", "atrium-embedding"}
    assert {spec.replicas[0].engine for spec in found.values()} == {"extractive", "embedding"}
    assert found["atrium-embedding"].dimensions == 384
    assert all(spec.built_in for spec in found.values())
    with pytest.raises(Conflict):
        delete_model(model_id="atrium-extractive")
    with pytest.raises(Conflict):
        delete_replica(replica_id=Replica.objects.all()[0].id)


def test_the_environments_embedding_endpoint_replaces_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Environment:
        embeddings_url = ""
        embeddings_model = "embedder"
        embeddings_api_key = "k"

    class Settings:
        ATRIUM = Environment

    monkeypatch.setattr(built_in_module, "settings", Settings)
    ensure_configured_embeddings()
    assert not Replica.objects.exists()
    for url in ("http://one/v1", "http://two/v1"):
        Environment.embeddings_url = url
        ensure_configured_embeddings()
    (replica,) = specs()["embedder"].replicas
    assert (replica.url, replica.vllm, replica.api_key) == ("http://two/v1", False, "k")
    assert specs()["embedder"].kind is ModelKind.EMBEDDING


def test_models_and_pools_in_use_cannot_be_deleted() -> None:
    replica = register_engine(pool="gpu", model="a", url=URL)
    for refused in (lambda: delete_model(model_id="a"), lambda: delete_pool(pool_id=replica.pool_id)):
        with pytest.raises(Conflict):
            refused()
    delete_replica(replica_id=replica.id)
    delete_model(model_id="a")
    delete_pool(pool_id=replica.pool_id)
    assert not Pool.objects.exists()


def test_names_are_unique() -> None:
    create_model(model_id="a", input_price="1.5")
    create_pool(name="gpu")
    with pytest.raises(Conflict):
        create_model(model_id="a")
    with pytest.raises(Conflict):
        create_pool(name="gpu")
    assert change_model(model_id="a", output_price="2").output_price == "2"
    assert specs()["a"].input_price_nano == 1500


def test_a_replicas_key_can_be_changed_and_removed() -> None:
    replica = register_engine(pool="gpu", model="a", url=URL, api_key="k")
    assert change_replica(replica_id=replica.id, api_key="new").has_api_key
    assert specs()["a"].replicas[0].api_key == "new"
    assert not change_replica(replica_id=replica.id, api_key="").has_api_key
    assert specs()["a"].replicas[0].api_key == ""


def run(name: str, *arguments: str) -> Any:
    out = StringIO()
    call_command(name, *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_the_commands() -> None:
    said = run(
        "register_engine", "--pool", "gpu", "--model", "org/m", "--url", URL, "--context", "2048", "--tier", "heavy",
        "--input-price", "0.1", "--output-price", "0.2", "--max-concurrency", "3", "--api-key", "k",
        "--served-name", "m", "--region", "eu", "--kind", "chat",
    )  # fmt: skip
    assert (said["model"], said["url"], said["max_concurrency"]) == ("org/m", URL, 3)
    assert "k" not in said.values()
    assert specs()["org/m"].context_length == 2048
    assert run("drain_engine", URL) == {"url": URL, "replicas": 1}
    assert run("remove_engine", URL) == {"url": URL, "replicas": 1}
    with pytest.raises(CommandError, match="No engine is registered"):
        run("remove_engine", URL)
    with pytest.raises(CommandError, match=r"ends in /v1"):
        run("register_engine", "--pool", "gpu", "--model", "m", "--url", "http://host")


class TestDirectory:
    """The directory in memory, over a database that other connections see."""

    pytestmark = pytest.mark.django_db(transaction=True)

    async def _registered(self, model: str) -> None:
        await asyncio.to_thread(register_engine, pool="gpu", model=model, url=URL)

    async def test_an_edit_is_in_effect_within_two_seconds(self) -> None:
        await self._registered("a")
        directory: ModelDirectory = backends["model_directory"]
        tail: ChangeTail = backends["change_tail"]
        await tail.start()
        tail.listen(directory.on_change)
        await directory.start()
        assert [spec.id for spec in list_models()] == ["a"]
        old = directory.snapshot
        await self._registered("b")
        await asyncio.to_thread(drain_engine, url=URL)
        await self._registered("b")
        running = asyncio.ensure_future(tail.run())
        async with asyncio.timeout(2):
            while [spec.id for spec in list_models()] != ["b"]:  # noqa: ASYNC110 - the promise is about time
                await asyncio.sleep(0.02)
        assert [spec.id for spec in old.models.values()] == ["a"]
        assert get_model("a").replicas == ()
        assert embedder_fingerprint("b") == "b"
        with pytest.raises(ModelNotFound):
            get_model("c")
        running.cancel()
        await asyncio.wait([running])
        await backends.close()

    async def test_a_burst_of_changes_is_one_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        await self._registered("a")
        directory = ModelDirectory()
        await directory.start()
        loads = 0

        def counted(_: datetime) -> tuple[ModelSpec, ...]:
            nonlocal loads
            loads += 1
            if loads == 1:
                raise OperationalError("away for a moment")
            return ()

        monkeypatch.setattr("inference.directory.load_specs", counted)
        monkeypatch.setattr("inference.directory.RETRY_S", 0.05)
        for number in range(50):
            directory.on_change(ChangeEvent(number, "replica", None, "x"))
        directory.on_change(ChangeEvent(51, "api_key", None, "x"))
        await asyncio.sleep(0.4)
        # The first failed, one more repaired it; what was there stayed meanwhile.
        assert loads == 2
        assert directory.snapshot.models == {}
        await directory.close()

    async def test_a_loop_that_nobody_tells_loads_by_itself(self) -> None:
        await self._registered("a")
        directory = ModelDirectory()
        await directory.ensure()
        assert set(directory.snapshot.models) == {"a"}
