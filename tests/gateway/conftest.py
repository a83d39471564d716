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


def _furnish(server: LiveServer, engine: EngineServer) -> Installation:
    server.manage("create_tenant", "acme", "--name", "Acme")
    key = server.manage("issue_api_key", "--tenant", "acme", "--role", "owner")["key"]
    viewer_key = server.manage("issue_api_key", "--tenant", "acme", "--role", "viewer")["key"]
    dead_port = free_port()
    register = ("register_engine", "--pool", "fake")
    server.manage(*register, "--model", "org/tiny", "--served-name", "tiny", "--url", engine.url)
    server.manage(*register, "--model", "vectors", "--kind", "embedding", "--url", engine.url)
    server.manage(
        "register_engine", "--pool", "gone", "--model", "dead", "--url", f"http://127.0.0.1:{dead_port}/v1"
    )
    for model in ("org/tiny", "vectors", "dead"):
        server.wait_for_model(key, model)
    return Installation(server, engine, key, viewer_key, dead_port)


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
