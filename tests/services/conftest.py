"""The stack that all integration tests share, and a header of what they talked to."""

import os
from collections.abc import Iterator

import pytest
from fakes.stack import Member, Stack, new_member, start_stack, stop_stack, vllm_urls


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
    for number, url in enumerate(vllm_urls()):
        running.manage(
            "register_engine", "--pool", "cpu", "--model", "tiny", "--url", url, "--max-concurrency", "8",
            "--context", "4096", "--input-price", "0.10", "--output-price", "0.40",
        )  # fmt: skip
        running.manage(
            "register_engine", "--pool", f"only-{number}", "--model", f"tiny-{number}", "--url", url,
            "--served-name", "tiny", "--max-concurrency", "8", "--context", "4096",
        )  # fmt: skip


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
