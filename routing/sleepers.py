"""The pools that wake when a call comes, in memory: there are few, and each change loads them all again."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import structlog
from django.db import DatabaseError

from inference.types import ModelSpec
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Unavailable
from kernel.streams import Supervisor
from routing.scaling_reads import load_sleepers
from routing.scaling_types import Sleeper
from substrate.changes import EVERYTHING
from substrate.ports import ChangeEvent
from substrate.units import run_unit

log = structlog.get_logger(__name__)

POLICY, WAKE = "pool_scaling", "pool_wake"
KINDS = frozenset({POLICY, WAKE, "pool", EVERYTHING})
RETRY_S = 1.0
# A process asks for the same pool again after this long: the one that should start it may have died.
ASK_EVERY_S = 5.0


class SleeperDirectory:
    """Which pools wake for which model."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Empty until `start`."""
        self.clock = clock
        self._by_model: dict[str, tuple[Sleeper, ...]] = {}
        self._asked: dict[str, float] = {}
        self._stale = False
        self._supervisor = Supervisor(limit=1, on_error=_report)

    async def start(self) -> None:
        """Load them. Raises Unavailable, DatabaseError."""
        self.show(await run_unit(load_sleepers))

    def on_change(self, event: ChangeEvent) -> None:
        """Load again after an edit of a policy or a pool, and when one is woken."""
        if event.kind == WAKE:
            backends["pool_evaluator"].nudge()
        if event.kind in KINDS:
            self._stale = True
            if not len(self._supervisor):
                self._supervisor.start("reload_sleepers", self._reload())

    async def close(self) -> None:
        """End a load under way."""
        await self._supervisor.close()

    def show(self, sleepers: Iterable[Sleeper]) -> None:
        """Hold these from now on."""
        found: dict[str, tuple[Sleeper, ...]] = {}
        for each in sleepers:
            found[each.model] = (*found.get(each.model, ()), each)
        self._by_model = found

    def everyone(self) -> list[Sleeper]:
        """All of them."""
        return [each for found in self._by_model.values() for each in found]

    def models(self) -> Iterable[str]:
        """The models that some pool wakes for."""
        return self._by_model

    def find(self, model: str, pool: str) -> Sleeper | None:
        """The pool, when it wakes for the model."""
        return next((each for each in self._by_model.get(model, ()) if each.pool == pool), None)

    def with_sleepers(self, spec: ModelSpec, region: str = "") -> ModelSpec:
        """A model without a replica in service with the pools that would start one, in `region` when one is named."""
        found = self._by_model.get(spec.id)
        if not found or spec.replicas:
            return spec
        pools = tuple(each.pool for each in found if not region or each.region == region)
        return replace(spec, asleep=pools) if pools else spec

    def may_ask(self, pool: str) -> bool:
        """Whether it is time to ask for the pool to be woken; notes that it is done."""
        now = self.clock.monotonic()
        if now - self._asked.get(pool, -ASK_EVERY_S) < ASK_EVERY_S:
            return False
        self._asked[pool] = now
        return True

    async def _reload(self) -> None:
        while self._stale:
            self._stale = False
            try:
                await self.start()
            except (Unavailable, DatabaseError) as error:
                log.warning("sleepers_not_reloaded", error=str(error))
                self._stale = True
                await asyncio.sleep(RETRY_S)


def _report(name: str, error: BaseException) -> None:
    log.error("sleepers_failed", work=name, error=str(error))
