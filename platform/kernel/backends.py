"""Live instances of the adapters that settings name, the way Django's `caches` holds cache backends.

One instance per name and event loop: an adapter may hold connections, and those belong to a loop. Work without a
running loop (a management command, a thread) has its own set. `close()` ends what the running loop holds; the
lifespan of each process calls it.
"""

import asyncio
import importlib
import inspect
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One line of the composition: which port, which class stands behind it, and its keyword arguments."""

    port: str
    backend: str
    options: Mapping[str, Any] = field(default_factory=dict)


class UnknownBackend(LookupError):
    """Settings name no backend of this name."""


def import_object(path: str) -> Any:
    """The object at a dotted `path`. Raises ImportError or AttributeError when there is none."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


# No loop has been asked for yet.
_NOBODY: tuple[int, None, dict[str, Any]] = (0, None, {})


class Backends:
    """Builds each named backend at first use, once per event loop."""

    def __init__(self) -> None:
        """Empty until `configure`."""
        self._specs: dict[str, BackendSpec] = {}
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Any]] = WeakKeyDictionary()
        self._without_loop: dict[str, Any] = {}
        self._lock = threading.RLock()
        # The loop asked for last, its thread and its instances: the data plane asks several times for every call. A loop
        # that runs is the one of its thread; to ask asyncio for it costs a system call each time (`getpid`).
        self._latest: tuple[int, asyncio.AbstractEventLoop | None, dict[str, Any]] = _NOBODY

    def configure(self, specs: Mapping[str, BackendSpec]) -> None:
        """Take the composition from settings. Instances built before are dropped without being closed."""
        with self._lock:
            self._specs = dict(specs)
            self._by_loop.clear()
            self._without_loop.clear()
            self._latest = _NOBODY

    @property
    def specs(self) -> Mapping[str, BackendSpec]:
        """The composition in force."""
        return self._specs

    def __getitem__(self, name: str) -> Any:
        """The instance of `name` for the running loop. Raises UnknownBackend."""
        thread, loop, instances = self._latest
        if loop is None or thread != get_ident() or not loop.is_running():
            instances = self._instances()
        try:
            return instances[name]
        except KeyError:
            return self._build(name, instances)

    def replace(self, name: str, instance: Any) -> None:
        """Put `instance` in place for the running loop (tests give fakes this way)."""
        self._instances()[name] = instance

    async def close(self) -> None:
        """Close every instance of the running loop, the newest first."""
        with self._lock:
            instances = self._by_loop.pop(asyncio.get_running_loop(), {})
            self._latest = _NOBODY
        for instance in reversed(list(instances.values())):
            close = getattr(instance, "close", None)
            if close is None:
                continue
            outcome = close()
            if inspect.isawaitable(outcome):
                await outcome

    def _instances(self) -> dict[str, Any]:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._without_loop
        with self._lock:
            instances = self._by_loop.setdefault(loop, {})
            self._latest = (get_ident(), loop, instances)
            return instances

    def forget_latest(self) -> None:
        """A fork begins without a running loop, whatever its parent was doing."""
        self._latest = _NOBODY

    def _build(self, name: str, instances: dict[str, Any]) -> Any:
        with self._lock:
            if name not in instances:
                spec = self._specs.get(name)
                if spec is None:
                    raise UnknownBackend(f"no backend is named {name!r}; settings name {sorted(self._specs)}")
                instances[name] = import_object(spec.backend)(**spec.options)
            return instances[name]


backends = Backends()
os.register_at_fork(after_in_child=backends.forget_latest)
