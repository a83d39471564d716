"""A live Atrium and a fake engine behind it, for tests with the official client."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.engine_server import Behaviour, EngineServer, engine_thread
from fakes.installation import Installation
from fakes.live_server import LiveServer, free_port


@pytest.fixture(scope="session")
def live_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Started once: a server, the tenant `acme`, the models `tiny` (chat), `vectors` (embedding) and `dead`."""
    home: Path = tmp_path_factory.mktemp("live") / "home"
    server = LiveServer(home=home)
    with engine_thread() as engine:
        server.start("--no-demo")
        try:
            yield _furnish(server, engine)
        finally:
            server.stop()


# One process for all of it: each command of its own would take as long.
_FURNITURE = """
import json
from inference.services import register_engine
from inference.types import ModelKind
from tenants.services import create_tenant, issue_api_key
tenant = create_tenant(slug="acme", name="Acme")
register_engine(pool="fake", model="org/tiny", url={engine!r}, served_name="tiny", input_price="1", output_price="2")
register_engine(pool="fake", model="vectors", url={engine!r}, kind=ModelKind.EMBEDDING)
register_engine(pool="narrow", model="narrow", url={engine!r}, max_concurrency=1)
register_engine(pool="gone", model="dead", url={gone!r})
keys = {{role: issue_api_key(tenant_id=tenant.id, name=role, role=role).key for role in ("owner", "viewer")}}
print(json.dumps(keys))
"""


def _furnish(server: LiveServer, engine: EngineServer) -> Installation:
    dead_port = free_port()
    code = _FURNITURE.format(engine=engine.url, gone=f"http://127.0.0.1:{dead_port}/v1")
    keys = server.run_code(code)
    for model in ("org/tiny", "vectors", "dead"):
        server.wait_for_model(keys["owner"], model)
    return Installation(server, engine, keys["owner"], keys["viewer"], dead_port)


@pytest.fixture
def live(live_installation: Installation) -> Iterator[Installation]:
    """The live installation, its engine well behaved and its memory of earlier calls empty."""
    engine = live_installation.engine
    engine.behaviour = dataclasses.replace(Behaviour())
    engine.requests.clear()
    engine.cancelled = 0
    yield live_installation
    for client in live_installation.clients:
        client.close()
    live_installation.clients.clear()
