"""The meters that settings name: every ended request into the series, and the way of some to those who ask why.

Nothing is measured while a request is served: its trail is kept for a quarter of a second and folded with others.
"""

import asyncio
import time
import uuid
from collections import Counter

import structlog

from config.seeing import series
from config.seeing.folding import fold
from kernel.backends import backends
from kernel.errors import AtriumError
from kernel.hops import Hop, Trail
from kernel.seeing import SpanExport
from kernel.streams import Supervisor
from tenants.ports import UsageSpool
from tenants.services import record_trace
from tenants.tracing import entry_of, kept_as
from tenants.types import TraceEntry, TraceState

log = structlog.get_logger(__name__)

FOLD_S = 0.25
FOLD_TRAILS = 512
# Ways of one tenant that are kept in a minute, of each state.
A_MINUTE = 60
# Of calls of models that were neither slow nor failed nor refused: of one tenant, and of all. So whoever tries something by
# hand finds its way, and a busy process keeps a few. Of other requests nobody asks where they went.
SAMPLES_A_MINUTE = 10
ALL_SAMPLES_A_MINUTE = 60
MINUTE_S = 60.0
_LEVELS = {"websockets": series.WEBSOCKETS}


class PrometheusMeters:
    """Meters over Prometheus; slow, failed and refused requests go into the usage spool, and a few of the others."""

    def __init__(self, *, slow_ms: float, spans: bool = False, a_minute: int = A_MINUTE) -> None:
        """`slow_ms`: the longest that a first byte may take. `spans`: whether an exporter of spans is configured."""
        self._slow_ms = slow_ms
        self._a_minute = a_minute
        # Asked for here, so that it is closed after us.
        self._spool: UsageSpool = backends["usage_spool"]
        self._spans: SpanExport | None = backends["span_export"] if spans else None
        self._trails: list[Trail] = []
        self._hops: list[Hop] = []
        self._timer: asyncio.TimerHandle | None = None
        self._kept: Counter[tuple[uuid.UUID, TraceState]] = Counter()
        self._samples = 0
        self._minute_ends = 0.0
        self._entries: list[TraceEntry] = []
        self._tasks = Supervisor(limit=8, on_error=_report)
        self._sending: asyncio.Task[None] | None = None

    def finished(self, trail: Trail) -> None:
        """Count it soon; keep its way now when it is worth it."""
        self._trails.append(trail)
        worth_a_look = trail.state != "completed" or trail.total_ms >= self._slow_ms
        state = kept_as(trail, slow_ms=self._slow_ms) if worth_a_look and trail.door != "job" else None
        if state is not None:
            self._keep(trail, state)
        elif self._samples < ALL_SAMPLES_A_MINUTE and trail.state == "completed" and trail.door != "job":
            self._sample(trail)
        self._schedule()

    def passed(self, hop: Hop) -> None:
        """Count it soon."""
        self._hops.append(hop)
        self._schedule()

    def level(self, name: str, change: int) -> None:
        """Count what is open."""
        _LEVELS[name].inc(change)

    def fold(self) -> None:
        """Count what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._turn_minute()
        trails, self._trails = self._trails, []
        hops, self._hops = self._hops, []
        try:
            fold(trails, hops)
        except (OSError, ValueError) as error:
            # A full disk costs figures, never requests.
            log.warning("series_not_written", error=str(error))
        if self._spans is not None:
            for trail in trails:
                series.SPANS.labels("taken" if self._spans.take(trail) else "dropped").inc()

    async def close(self) -> None:
        """Count and keep what is still to be."""
        self.fold()
        await self._send()
        await self._tasks.close()

    def _schedule(self) -> None:
        if len(self._trails) >= FOLD_TRAILS or len(self._hops) >= FOLD_TRAILS:
            self.fold()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(FOLD_S, self.fold)
            except RuntimeError:
                # No loop: a command, which ends soon.
                self.fold()

    def _keep(self, trail: Trail, state: TraceState) -> None:
        asker = trail.asker
        if asker is None:
            return
        self._turn_minute()
        self._kept[asker.tenant_id, state] += 1
        if self._kept[asker.tenant_id, state] > self._a_minute:
            series.NOT_KEPT.labels(state.value).inc()
            return
        self._put(trail, state)

    def _sample(self, trail: Trail) -> None:
        asker = trail.asker
        if asker is None or not (trail.model or trail.assistant):
            return
        if self._kept[asker.tenant_id, TraceState.SAMPLED] >= SAMPLES_A_MINUTE:
            return
        self._kept[asker.tenant_id, TraceState.SAMPLED] += 1
        self._samples += 1
        self._put(trail, TraceState.SAMPLED)

    def _turn_minute(self) -> None:
        now = time.monotonic()
        if now >= self._minute_ends:
            self._kept.clear()
            self._samples = 0
            self._minute_ends = now + MINUTE_S

    def _put(self, trail: Trail, state: TraceState) -> None:
        entry = entry_of(trail, state)
        if entry is not None:
            series.KEPT.labels(state.value).inc()
            self._entries.append(entry)
            if self._sending is None or self._sending.done():
                self._start_sending()

    def _start_sending(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._sending = self._tasks.start("keep_requests", self._send())

    async def _send(self) -> None:
        while self._entries:
            entry = self._entries.pop(0)
            try:
                await record_trace(entry)
            except AtriumError as error:
                log.warning("request_not_kept", request_id=entry.request_id, error=str(error))


def _report(name: str, error: BaseException) -> None:
    log.error("meters_failed", task=name, error=str(error))
