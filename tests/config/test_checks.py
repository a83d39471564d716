"""The system checks of the composition: adapters fit their ports, handlers exist."""

import inspect
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
from django.conf import settings

from config.checks import check_backends, check_job_handlers, misfits
from kernel.backends import BackendSpec


class Port(Protocol):
    """What is promised."""

    async def fetch(self, key: str, limit: int) -> bytes: ...

    def stream(self, key: str) -> AsyncIterator[bytes]: ...

    def name(self) -> str: ...


class Fits:
    """Everything, and more: a default of its own does no harm."""

    async def fetch(self, key: str, limit: int, retries: int = 3) -> bytes:
        return b""

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        yield b""

    def name(self) -> str:
        return ""


class Lacks(Fits):
    """One method is no method."""

    name = None  # type: ignore[assignment]


class Renamed(Fits):
    """A caller's keyword would not be understood."""

    async def fetch(self, id: str, limit: int) -> bytes:  # type: ignore[override]
        return b""


class Demands(Fits):
    """A caller would not know of the third."""

    async def fetch(self, key: str, limit: int, retries: int) -> bytes:  # type: ignore[override]
        return b""


class Blocks(Fits):
    """A caller would await bytes."""

    def fetch(self, key: str, limit: int) -> bytes:  # type: ignore[override]
        return b""


def test_an_adapter_that_fits_has_no_misfits() -> None:
    assert misfits(Port, Fits) == []


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        (Lacks, "has no method name()"),
        (Renamed, "has fetch(self, id, limit), the port (self, key, limit)"),
        (Demands, "has fetch(self, key, limit, retries), the port (self, key, limit)"),
        (Blocks, "has fetch() async where the port has it plain, or the other way round"),
    ],
)
def test_each_misfit_is_said(adapter: type, says: str) -> None:
    assert misfits(Port, adapter) == [says]


def test_the_composition_in_force_is_sound() -> None:
    assert check_backends(app_configs=None) == []
    assert check_job_handlers(app_configs=None) == []


def test_wrong_backends_are_errors_of_the_check(settings: Any) -> None:
    settings.BACKENDS = {
        "gone": BackendSpec("substrate.ports.BlobStore", "substrate.adapters.nowhere.Store"),
        "unfit": BackendSpec("substrate.ports.BlobStore", "substrate.adapters.polling.PollingJobNudge"),
    }
    found = check_backends(app_configs=None)
    assert [problem.id for problem in found] == ["atrium.E001"] + ["atrium.E002"] * 6
    assert "nowhere" in found[0].msg


def test_wrong_handlers_are_errors_of_the_check(settings: Any) -> None:
    settings.JOB_HANDLERS = {"a": ("kernel.ids.uuid7", "kernel.ids.no_such")}
    settings.BACKGROUND = {"gateway": ("no_such_module.work",)}
    assert [problem.id for problem in check_job_handlers(app_configs=None)] == [
        "atrium.E004",
        "atrium.E003",
        "atrium.E003",
    ]


@pytest.mark.parametrize("name", sorted(settings.BACKENDS))
def test_ports_are_small(name: str) -> None:
    path = settings.BACKENDS[name].port
    module, _, port = path.rpartition(".")
    methods = [
        each
        for each, _ in inspect.getmembers(
            getattr(__import__(module, fromlist=[port]), port), inspect.iscoroutinefunction
        )
        if not each.startswith("_")
    ]
    assert len(methods) <= 5
