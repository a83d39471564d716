"""All models and replicas in memory, loaded whole at start and after each change; what is known of their health.

There are few of them (hundreds), so that one load of a few milliseconds replaces all bookkeeping. Readers get an
immutable snapshot and never wait.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from django.db import DatabaseError

from inference.health import HealthBook
from inference.selectors import load_specs
from inference.sightings import Sightings
from inference.types import ModelSpec, ReplicaSpec
from inference.vitals import VitalsBook
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Unavailable
from kernel.streams import Supervisor
from substrate.changes import EVERYTHING
from substrate.ports import ChangeEvent
from substrate.units import run_unit

log = structlog.get_logger(__name__)

KINDS = frozenset({"model", "pool", "replica", EVERYTHING})
# Edits come in bursts (a pool with its replicas): one load serves them all.
DEBOUNCE_S = 0.05
RETRY_S = 1.0
# A loop that no change tail serves (a job's own) loads again after this long.
STALE_S = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was in the database at one moment. `replicas` are all of them, those that drain or are of disabled models too."""

    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    replicas: Mapping[str, ReplicaSpec] = field(default_factory=dict)

    @classmethod
    def of(cls, specs: tuple[ModelSpec, ...]) -> "Snapshot":
        """The snapshot of these models."""
        return cls(
            models={spec.id: spec for spec in specs},
            replicas={replica.id: replica for spec in specs for replica in (*spec.replicas, *spec.resting)},
        )


class ModelDirectory:
    """One per process and event loop. `snapshot` is replaced as a whole."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Empty until `start` or `ensure`."""
        self.snapshot = Snapshot()
        self.health = HealthBook(clock=clock)
        self.vitals = VitalsBook()
        # What the other processes see of the same replicas.
        self.sightings = Sightings()
        self._shown = 0
        self._clock = clock
        self._tailed = False
        self._loaded_at: float | None = None
        self._stale = False
        self._supervisor = Supervisor(limit=1, on_error=_report)

    async def start(self) -> None:
        """Load everything; from now on the change tail tells of edits. Raises Unavailable, DatabaseError."""
        self._tailed = True
        await self._load()

    def priced(self, spec: ModelSpec) -> ModelSpec:
        """The model as it is priced now: a planned price holds from its very moment, without a load."""
        return spec.priced_at(self._clock.now()) if spec.planned else spec

    @property
    def fresh(self) -> bool:
        """Whether what it holds is kept current by the change tail."""
        return self._tailed and self._loaded_at is not None

    def mark(self) -> tuple[int, int, int]:
        """Another one whenever a replica may have come into service or gone out of it."""
        return self._shown, *self.health.mark()

    async def ensure(self) -> None:
        """Load when nothing was loaded yet, or when nobody tells this loop of edits and the last load is old."""
        if self._loaded_at is None or (
            not self._tailed and self._clock.monotonic() - self._loaded_at > STALE_S
        ):
            await self._load()

    def on_change(self, event: ChangeEvent) -> None:
        """Load again soon after an edit of a model, pool or replica."""
        if event.kind in KINDS:
            self._stale = True
            if not len(self._supervisor):
                self._supervisor.start("reload_models", self._reload())

    async def close(self) -> None:
        """End a load under way."""
        await self._supervisor.close()

    async def _reload(self) -> None:
        while self._stale:
            await asyncio.sleep(DEBOUNCE_S)
            self._stale = False
            try:
                await self._load()
            except (Unavailable, DatabaseError) as error:
                log.warning("models_not_reloaded", error=str(error))
                self._stale = True
                await asyncio.sleep(RETRY_S)

    def show(self, specs: tuple[ModelSpec, ...]) -> None:
        """Hold these models from now on."""
        self.snapshot = Snapshot.of(specs)
        self._shown += 1
        self._loaded_at = self._clock.monotonic()
        self.health.keep_only(self.snapshot.replicas)
        self.vitals.keep_only(self.snapshot.replicas)

    async def _load(self) -> None:
        self.show(await run_unit(load_specs, self._clock.now()))


def _report(name: str, error: BaseException) -> None:
    log.error("directory_failed", work=name, error=str(error))
