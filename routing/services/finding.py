"""The finder: one process of all follows the sources of pools, and brings their replicas in line with what they say.

It holds the turn `discovery` as the evaluator holds its own. A task follows each source and keeps what it said last; the
finder's looks, one every few seconds and one as soon as something was said, do what follows from it. A source that fails is
begun anew after a growing pause, and what it said last holds on.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import aclosing, suppress
from uuid import UUID

import structlog
from msgspec import Struct

from inference.ports import Discovery, SlotBook
from inference.services import FollowedPool, load_followed_pools, note_look, reconcile_pool
from inference.sources import Roster
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError
from kernel.streams import Supervisor
from routing.services.turns import give_turn_back, own_name, take_turn
from substrate.changes import ChangeTail
from substrate.ports import ChangeEvent
from substrate.units import run_unit

log = structlog.get_logger(__name__)

TURN = "discovery"
SOURCE = "pool_source"
EVERY_S = 3.0
# What came of it is written down at least so often while it goes well.
TELL_EVERY_S = 30.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
MOST_SOURCES = 500
SCHEDULER_S = 2.0


class Following(Struct):
    """A source that is followed: what it said last, what is wrong since, what of it was written down when."""

    pool: FollowedPool
    task: asyncio.Task[None] | None = None
    roster: Roster | None = None
    problem: str = ""
    # The roster that was acted on last, and whether replicas are on their way out since.
    settled: Roster | None = None
    leaving: bool = False
    found: int = 0
    told: tuple[int | None, str] | None = None
    told_at: float = 0.0

    @property
    def failing(self) -> bool:
        """Whether something is wrong, by what was written down last."""
        return self.told is not None and bool(self.told[1])


class Sighting(Struct, frozen=True):
    """How a source stands, for whoever tells figures."""

    found: int
    failing: bool


class ReplicaFinder:
    """One per process; only that which holds the turn follows anything."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Nothing is followed yet."""
        self._clock = clock
        self._owner = own_name()
        self._following: dict[UUID, Following] = {}
        self._again: set[UUID] = set()
        self._nudged = asyncio.Event()
        self._listening = False
        self._supervisor = Supervisor(limit=MOST_SOURCES, on_error=_report)

    @property
    def sightings(self) -> Mapping[str, Sighting]:
        """How the sources stand that this process follows, by pool."""
        return {each.pool.name: Sighting(each.found, each.failing) for each in self._following.values()}

    def listen(self) -> None:
        """Hear of changes of sources from now on."""
        if not self._listening:
            self._listening = True
            tail: ChangeTail = backends["change_tail"]
            tail.listen(self.on_change)

    def on_change(self, event: ChangeEvent) -> None:
        """A source was changed, or is to be asked again: the next look is due at once."""
        if event.kind == SOURCE:
            with suppress(ValueError):
                self._again.add(UUID(event.object_id))
            self._nudged.set()

    async def rest(self) -> None:
        """Until the next look is due: at once when a source has said something."""
        with suppress(TimeoutError):
            # Spread, or all processes would ask for the turn at once.
            async with asyncio.timeout(EVERY_S * random.uniform(0.9, 1.1)):  # noqa: S311 - nothing secret about it
                await self._nudged.wait()
        self._nudged.clear()

    async def look(self) -> bool:
        """Do what follows from what the sources say, if it is this process's turn; whether it was. Raises Unavailable."""
        if not await run_unit(take_turn, name=TURN, owner=self._owner, clock=self._clock):
            await self._follow_only({})
            return False
        pools = {each.id: each for each in await run_unit(load_followed_pools)}
        await self._follow_only(pools)
        for each in list(self._following.values()):
            await self._settle(each)
        return True

    async def leave(self) -> None:
        """Follow nothing any more and give the turn back, so that another process need not wait for its end."""
        await self._supervisor.close()
        self._following.clear()
        await run_unit(give_turn_back, name=TURN, owner=self._owner)

    async def _follow_only(self, pools: Mapping[UUID, FollowedPool]) -> None:
        """Follow these: begin with new ones and anew with changed ones, end with the others."""
        again, self._again = self._again, set()
        for pool_id, each in list(self._following.items()):
            if pools.get(pool_id) != each.pool:
                del self._following[pool_id]
                await _end(each)
        for pool_id, pool in pools.items():
            each = self._following.setdefault(pool_id, Following(pool))
            if pool_id in again:
                each.told = None
                await _end(each)
            if each.task is None or each.task.done():
                each.task = self._supervisor.start(f"follow {pool.name}", self._follow(each))

    async def _follow(self, following: Following) -> None:
        """Keep what the source says, for ever."""
        source, pause = following.pool.source, FIRST_PAUSE_S
        discovery: Discovery = backends[f"discovery.{source.kind.value}"]
        while True:
            try:
                async with aclosing(discovery.follow(source)) as rosters:
                    async for roster in rosters:
                        following.roster, following.problem, pause = roster, "", FIRST_PAUSE_S
                        self._nudged.set()
            except AtriumError as error:
                following.problem = error.message
                self._nudged.set()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - nothing secret about it
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _settle(self, following: Following) -> None:
        """Do what follows from what the source said last, and write down what came of it."""
        if self._is_quiet(following):
            return
        found, problem = None, following.problem
        if following.roster is not None:
            try:
                calls = await _calls_of(following.pool.name) if following.leaving else {}
                done = await run_unit(
                    reconcile_pool,
                    pool=following.pool,
                    roster=following.roster,
                    calls=calls,
                    clock=self._clock,
                )
                following.settled, following.leaving = following.roster, done.leaving
                if not problem:
                    # What was said before a source failed is done too, and is no news of it.
                    found, problem = done.found, done.remark
            except AtriumError as error:
                problem = error.message
        following.found = following.found if found is None else found
        await self._tell(following, found, problem)

    def _is_quiet(self, following: Following) -> bool:
        """Whether nothing was said since the last look, and nothing is to be ended or to be written down again."""
        late = self._clock.monotonic() - following.told_at >= TELL_EVERY_S
        news = following.told is None or following.settled is not following.roster or following.leaving
        return not (late or news or (following.problem and following.told != (None, following.problem)))

    async def _tell(self, following: Following, found: int | None, problem: str) -> None:
        told, now = (found, problem), self._clock.monotonic()
        if told == (None, "") or (told == following.told and now - following.told_at < TELL_EVERY_S):
            return
        if problem and (following.told is None or following.told[1] != problem):
            log.warning("pool_source_failing", pool=following.pool.name, problem=problem)
        following.told, following.told_at = told, now
        await run_unit(note_look, pool=following.pool, found=found, problem=problem, clock=self._clock)


async def find_replicas_forever() -> None:
    """Take part in the election, and follow when elected; a database that is away is tried again."""
    finder: ReplicaFinder = backends["replica_finder"]
    finder.listen()
    try:
        while True:
            try:
                await finder.look()
            except AtriumError as error:
                log.warning("replicas_not_found", error=error.message)
            await finder.rest()
    finally:
        await asyncio.shield(finder.leave())


async def _calls_of(pool: str) -> Mapping[str, int] | None:
    """Calls by replica; None while the scheduler cannot say."""
    scheduler: SlotBook = backends["scheduler"]
    try:
        async with asyncio.timeout(SCHEDULER_S):
            return (await scheduler.snapshot(pool)).running
    except (AtriumError, TimeoutError):
        return None


async def _end(following: Following) -> None:
    if following.task is not None:
        following.task.cancel()
        await asyncio.wait([following.task])


def _report(name: str, error: BaseException) -> None:
    log.error("source_not_followed", work=name, error=str(error))
