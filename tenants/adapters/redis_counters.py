"""Counters in Redis: exact over every process of the installation, by Redis' own clock.

While Redis is away each process admits by itself, within a share of each limit: a quarter of a rate, of places that
run, and of what remained of a day or month when it was last seen (a twentieth of the whole where it was not). What was
used meanwhile is booked when Redis is back. A Redis that was emptied is known by its generation (`counter_presence`) and
knows no sums: after a moment of grace its lines are seeded anew from ledger and spool before it admits anything against
them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import redis
import redis.asyncio
import structlog
from msgspec import structs
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from kernel.clock import SYSTEM_CLOCK, Clock, unix_ms
from kernel.errors import Unavailable
from kernel.scripts import ScriptPipeline
from kernel.streams import Supervisor
from tenants.adapters.counter_layout import Layout
from tenants.adapters.counter_presence import AWAY_S, Presence
from tenants.adapters.counter_scripts import OF_TENANT, READ, RENEW, RESERVE, SEED, SETTLE
from tenants.adapters.memory_counters import MemoryCounters
from tenants.counting import REMEMBER_MS
from tenants.limit_types import (
    LEASE_MS,
    Claim,
    CountersState,
    Line,
    LineKind,
    LineSet,
    Outcome,
    Seed,
    Settlement,
    Standing,
    Verdict,
    period_at,
    standing_of,
)

log = structlog.get_logger(__name__)

Unreachable = (redis.RedisError, OSError, TimeoutError)
TIMEOUT_S = 1.0
SHARE = 4
UNSEEN_SHARE = 20
# Settlements kept for a Redis that is away; beyond, the oldest go until `rebuild_counters` counts them from the ledger.
MOST_KEPT = 100_000
AGAIN_S = 0.5
REMEMBERED = 10_000
_DAY_MS = 86_400_000
_KEPT_MS = {LineKind.DAY: 9 * _DAY_MS, LineKind.MONTH: 40 * _DAY_MS}


class RedisCounters:
    """One round trip to reserve; settling is told and not waited for."""

    def __init__(
        self, *, url: str, lease_ms: int = LEASE_MS, timeout_s: float = TIMEOUT_S, clock: Clock | None = None
    ) -> None:
        """`url` is the state instance of Redis. Its own clock counts, unless a test gives another `clock`."""
        self._calls = ScriptPipeline(
            redis.asyncio.Redis.from_url(
                url,
                protocol=2,
                socket_timeout=None,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
            ),
            timeout_s=timeout_s,
            unreachable=Unreachable,
            refused=redis.exceptions.ResponseError,
            forgotten=redis.exceptions.NoScriptError,
        )
        self._presence = Presence(self._calls)
        self._lease_ms = lease_ms
        self._clock = clock
        # What was told last to each caller (by the identity of its lines), and what that says of days and months.
        self._latest: OrderedDict[int, tuple[Claim, Sequence[int]]] = OrderedDict()
        self._seen: OrderedDict[tuple[str, str, int], int] = OrderedDict()
        self._local = MemoryCounters(lease_ms=lease_ms)
        self._local_claims: dict[str, Claim] = {}
        self._counted_here = False
        self._kept: dict[str, Settlement] = {}
        self._background = Supervisor(limit=2, on_error=_report)
        self._again: asyncio.Task[None] | None = None

    async def reserve(self, claim: Claim) -> Verdict:
        """As the port says; within this process's own share while Redis is away."""
        if not self._presence.alone:
            try:
                if not self._presence.known:
                    # Nobody watches the counters in a worker: it learns at its first call which Redis it counts in.
                    await self._presence.look()
                layout = _layout(claim.lines)
                answer = await self._calls.send(
                    RESERVE, _prefix(claim.tenant), self._now(), self._lease_ms, claim.id,
                    layout.packed, layout.values(claim.values),
                )  # fmt: skip
                if answer[0] == Outcome.UNSEEDED:
                    # A new day, a new limit, or a Redis that was emptied.
                    await self._presence.look()
            except Unreachable as error:
                self._presence.note_away(error)
            else:
                if answer[0] != Outcome.UNSEEDED or not self._presence.alone:
                    return self._verdict(claim, layout, answer)
        return await self._reserve_here(claim)

    async def renew(self, claim: Claim, *, running: bool | None = None) -> bool:
        """As the port says; while Redis is away what it held is held on."""
        own = self._local_claims.get(claim.id)
        if own is not None:
            return await self._local.renew(own, running=running)
        wanted = "" if running is None else str(int(running))
        try:
            return bool(await self._send_renewal(claim, wanted))
        except Unreachable as error:
            self._presence.note_away(error)
            return True

    def settle(self, settlement: Settlement) -> None:
        """As the port says. Returns at once."""
        claim = settlement.claim
        if self._local_claims.pop(claim.id, None) is not None:
            self._local.settle(settlement)
        if len(self._kept) >= MOST_KEPT:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            log.error("settlement_dropped", call=oldest)
        self._kept[claim.id] = settlement
        if self._presence.away or self._again is not None:
            self._start_again()
        else:
            self._calls.tell(partial(self._told, claim.id), *self._settlement(settlement))

    def refund(self, claim: Claim) -> None:
        """As the port says."""
        self.settle(Settlement(claim, (0,) * len(claim.lines), 0))

    async def read(self, tenant: str, lines: Sequence[Line]) -> tuple[Standing, ...]:
        """As the port says. What was settled here before is in it. Raises Unavailable."""
        if not lines:
            return ()
        layout = Layout(tuple(lines))
        try:
            answer = await self._calls.send(READ, _prefix(tenant), self._now(), layout.packed)
        except Unreachable as error:
            self._presence.note_away(error)
            raise Unavailable("The counters' Redis is not reachable.", retry_after_s=AWAY_S) from error
        at_ms, counts = answer[0], layout.counts(answer[1:])
        return tuple([standing_of(line, count, at_ms) for line, count in zip(lines, counts, strict=True)])

    async def seed(self, tenant: str, seeds: Sequence[Seed], *, replace: bool = False) -> None:
        """As the port says. Raises Unavailable."""
        arguments: list[Any] = []
        for each in seeds:
            kind = each.line.kind
            arguments += [
                int(kind), each.start_ms, each.line.field, each.used, each.at_ms, _KEPT_MS[kind],
            ]  # fmt: skip
        try:
            await self._calls.send(SEED, _prefix(tenant), self._now(), int(replace), *arguments)
        except Unreachable as error:
            self._presence.note_away(error)
            raise Unavailable("The counters' Redis is not reachable.", retry_after_s=AWAY_S) from error

    async def check(self) -> CountersState:
        """As the port says. Redis is asked, unless it did not answer just now."""
        if not self._presence.away:
            try:
                await self._presence.look()
            except Unreachable as error:
                self._presence.note_away(error)
        presence = self._presence
        return CountersState(exact=not presence.alone, reachable=not presence.away, emptied=presence.emptied)

    async def forget(self, tenant: str) -> None:
        """As the port says. Raises Unavailable."""
        await self._local.forget(tenant)
        await self._of_tenant(tenant, remove=True)

    async def known(self, tenant: str) -> int:
        """As the port says: keys in Redis. Raises Unavailable."""
        return await self._of_tenant(tenant, remove=False)

    async def _of_tenant(self, tenant: str, *, remove: bool) -> int:
        try:
            return int(await self._calls.send(OF_TENANT, _prefix(tenant), str(int(remove))))
        except Unreachable as error:
            self._presence.note_away(error)
            raise Unavailable("The counters' Redis is not reachable.", retry_after_s=AWAY_S) from error

    async def close(self) -> None:
        """Tell what is still to be told, then close the connection."""
        await self._calls.close()
        await self._background.close()

    def _send_renewal(self, claim: Claim, wanted: str) -> "asyncio.Future[Any]":
        return self._calls.send(RENEW, _prefix(claim.tenant), self._now(), self._lease_ms, claim.id, wanted)

    def _verdict(self, claim: Claim, layout: Layout, answer: list[int]) -> Verdict:
        outcome, at_ms = answer[0], answer[1]
        if outcome == Outcome.UNSEEDED:
            return Verdict(Outcome.UNSEEDED, at_ms=at_ms, unseeded=tuple(sorted(answer[2:])))
        if outcome == Outcome.REFUSED:
            return Verdict(
                Outcome.REFUSED, layout.counts(answer[4:]), at_ms, refused=answer[2], wait_ms=answer[3]
            )
        counts = layout.counts(answer[3:])
        self._remember(claim, counts)
        if self._counted_here:
            self._begin_anew()
        return Verdict(Outcome.ADMITTED, counts, at_ms, running=bool(answer[2]))

    def _begin_anew(self) -> None:
        """What remains was told after everything that was counted here: the next absence begins with a new share of it.

        Rates go on where they are, for nobody is told of them: a Redis that comes and goes would give a share each time.
        """
        if self._local_claims or self._again is not None:
            return
        self._local.forget_sums(most=REMEMBERED)
        self._counted_here = False

    def _remember(self, claim: Claim, counts: Sequence[int]) -> None:
        """How a caller's lines stood when Redis was last seen: the measure of this process's share, should it go away."""
        key = id(claim.lines)
        self._latest[key] = (claim, counts)
        self._latest.move_to_end(key)
        if len(self._latest) > REMEMBERED:
            self._latest.popitem(last=False)

    def _look_back(self) -> None:
        """What remained of days and months, the latest last."""
        for claim, counts in self._latest.values():
            for line, used in zip(claim.lines, counts, strict=True):
                if line.kind >= LineKind.DAY:
                    self._seen[claim.tenant, line.field, line.start_ms] = max(0, line.limit - used)
        self._latest.clear()
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    async def _reserve_here(self, claim: Claim) -> Verdict:
        self._counted_here = True
        now_ms = unix_ms(SYSTEM_CLOCK)
        self._look_back()
        lines = LineSet(self._share(claim.tenant, line) for line in claim.lines)
        own = structs.replace(
            claim,
            lines=lines,
            values=tuple(_within(line, value) for line, value in zip(lines, claim.values, strict=True)),
        )
        periods = [line for line in lines if line.kind >= LineKind.DAY]
        await self._local.seed(
            claim.tenant, [Seed(line, period_at(line, now_ms)[0], 0, now_ms) for line in periods]
        )
        verdict = await self._local.reserve(own)
        if verdict.outcome is Outcome.ADMITTED:
            self._local_claims[claim.id] = own
        return structs.replace(verdict, local=True)

    def _share(self, tenant: str, line: Line) -> Line:
        if line.kind < LineKind.DAY:
            return replace(line, limit=max(1, line.limit // SHARE))
        seen = self._seen.get((tenant, line.field, line.start_ms))
        return replace(line, limit=line.limit // UNSEEN_SHARE if seen is None else seen // SHARE)

    def _settlement(self, settlement: Settlement) -> tuple[Any, ...]:
        claim = settlement.claim
        layout = _layout(claim.lines)
        return (
            SETTLE, _prefix(claim.tenant), self._now(), claim.id, layout.packed,
            layout.values(settlement.values), settlement.at_ms, REMEMBER_MS,
        )  # fmt: skip

    def _told(self, call_id: str, answer: Any) -> None:
        if isinstance(answer, Unreachable):
            self._presence.note_away(answer)
            self._start_again()
            return
        if isinstance(answer, Exception):
            log.error("settlement_refused", call=call_id, error=str(answer))
        self._kept.pop(call_id, None)

    def _start_again(self) -> None:
        if self._again is None:
            self._again = self._background.start("settlements", self._tell_kept())

    async def _tell_kept(self) -> None:
        """Tell Redis what it missed, once it is back."""
        try:
            while self._kept:
                await asyncio.sleep(AGAIN_S)
                if not self._presence.away:
                    kept = list(self._kept)
                    told = [self._calls.send(*self._settlement(self._kept[each])) for each in kept]
                    for each, answer in zip(
                        kept, await asyncio.gather(*told, return_exceptions=True), strict=True
                    ):
                        self._told(each, answer)
        finally:
            self._again = None

    def _now(self) -> int:
        return 0 if self._clock is None else int(self._clock.now().timestamp() * 1000)


def _layout(lines: LineSet) -> Layout:
    """Lines as the scripts read them. Whoever asks brings the same set for the same caller: laid out once."""
    found = lines.kept
    if type(found) is not Layout:
        found = lines.kept = Layout(lines.all)
    return found


def _within(line: Line, value: int) -> int:
    """A value that its line can hold at all: a share of a rate may be smaller than one call."""
    return min(value, line.limit) if line.kind is LineKind.RATE else value


def _prefix(tenant: str) -> str:
    return f"atrium:limits:{{{tenant}}}:"


def _report(name: str, error: BaseException) -> None:
    log.error("counters_background_ended", work=name, error=str(error))
