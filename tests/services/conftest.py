"""The stack that all integration tests share, and a header of what they talked to."""

import os
from collections.abc import Iterator

import pytest
from fakes.stack import Member, Stack, new_member, start_stack, stop_stack, vllm_urls

_ENGINES = """
from inference.services import register_engine
size = dict(max_concurrency=8, context_length=4096)
for number, url in enumerate({urls!r}):
    register_engine(pool="cpu", model="tiny", url=url, input_price="0.10", output_price="0.40", **size)
    register_engine(pool=f"only-{{number}}", model=f"tiny-{{number}}", url=url, served_name="tiny", **size)
print("null")
"""


def pytest_report_header() -> list[str]:
    """Versions and process ids of the real services."""
    told = sorted(
        name for name in os.environ if name.startswith("ATRIUM_TEST_") and name.endswith(("_VERSION", "_PID"))
    )
    return [f"{name.removeprefix('ATRIUM_TEST_').lower()}: {os.environ[name]}" for name in told]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The full profile, started once."""
    running = start_stack()
    try:
        register_engines(running)
        yield running
    finally:
        stop_stack(running.process)


def register_engines(running: Stack) -> None:
    """Both replicas as one model, and each as a model of its own."""
    running.run_code(_ENGINES.format(urls=vllm_urls()))


@pytest.fixture
def member(stack: Stack) -> Member:
    """An admin of a fresh tenant."""
    return new_member(stack)


@pytest.fixture
def stranger(stack: Stack) -> Member:
    """An admin of another fresh tenant."""
    return new_member(stack)


@pytest.fixture(autouse=True)
def closed_clients(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close the clients that a test made."""
    yield
    if "stack" in request.fixturenames:
        running: Stack = request.getfixturevalue("stack")
        while running.clients:
            running.clients.pop().close()
