"""Backends: one instance per name and loop, closed in reverse."""

import asyncio
from collections.abc import Callable

import pytest

from kernel.backends import Backends, BackendSpec, UnknownBackend, import_object

closed: list[str] = []


class Plain:
    """An adapter with options and a plain close."""

    def __init__(self, *, name: str = "plain") -> None:
        self.name = name

    def close(self) -> None:
        closed.append(self.name)


class Asynchronous(Plain):
    """An adapter with an async close."""

    async def close(self) -> None:  # type: ignore[override]  # adapters may do either
        await asyncio.sleep(0)
        closed.append(self.name)


class Endless:
    """An adapter that holds nothing."""


def composed(**adapters: tuple[type, dict[str, str]]) -> Backends:
    backends = Backends()
    backends.configure(
        {
            name: BackendSpec("a.Port", f"{adapter.__module__}.{adapter.__qualname__}", options)
            for name, (adapter, options) in adapters.items()
        }
    )
    return backends


@pytest.fixture(autouse=True)
def none_closed_yet() -> None:
    closed.clear()


def test_without_a_loop_one_instance_serves() -> None:
    backends = composed(one=(Plain, {"name": "a"}))
    assert backends["one"] is backends["one"]
    assert backends["one"].name == "a"


def test_each_loop_has_its_own() -> None:
    backends = composed(one=(Plain, {}))

    async def take() -> object:
        return backends["one"]

    first, second = asyncio.run(take()), asyncio.run(take())
    assert len({id(first), id(second), id(backends["one"])}) == 3


async def test_a_thread_beside_the_loop_has_its_own() -> None:
    backends = composed(one=(Plain, {}))
    mine = backends["one"]

    async def take() -> object:
        return backends["one"]

    without = await asyncio.to_thread(lambda: backends["one"])
    another = await asyncio.to_thread(asyncio.run, take())
    assert len({id(mine), id(without), id(another)}) == 3
    assert backends["one"] is mine


def test_after_a_loop_has_ended_there_is_none() -> None:
    backends = composed(one=(Plain, {}))
    without = backends["one"]

    async def take() -> object:
        return backends["one"]

    assert asyncio.run(take()) is not without
    assert backends["one"] is without


async def test_within_a_loop_it_stays_the_same() -> None:
    backends = composed(one=(Plain, {}), two=(Plain, {}))
    assert backends["one"] is backends["one"]
    assert backends["one"] is not backends["two"]


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UnknownBackend, match=r"'three'.*\['one', 'two'\]"):
        composed(one=(Plain, {}), two=(Plain, {}))["three"]


async def test_the_newest_is_closed_first_and_a_fresh_one_is_built_after() -> None:
    backends = composed(one=(Plain, {"name": "1"}), two=(Asynchronous, {"name": "2"}), three=(Endless, {}))
    before = [backends[name] for name in ("one", "two", "three")]
    await backends.close()
    assert closed == ["2", "1"]
    assert backends["one"] is not before[0]


async def test_a_fake_takes_the_place_of_an_adapter() -> None:
    backends = composed(one=(Plain, {}))
    fake = Endless()
    backends.replace("one", fake)
    assert backends["one"] is fake


async def test_configuring_again_drops_what_was_built() -> None:
    backends = composed(one=(Plain, {"name": "old"}))
    assert backends["one"].name == "old"
    backends.configure({"one": BackendSpec("a.Port", f"{Plain.__module__}.Plain", {"name": "new"})})
    assert backends["one"].name == "new"
    assert list(backends.specs) == ["one"]


@pytest.mark.parametrize(
    ("path", "error"), [("no.such.module", ImportError), ("kernel.clock.NoSuchClock", AttributeError)]
)
def test_a_wrong_path_is_an_error(path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        import_object(path)


def test_an_object_is_found_by_its_path() -> None:
    found: Callable[..., object] = import_object("kernel.backends.import_object")
    assert found is import_object
