"""Spans over OTLP/HTTP, by OpenTelemetry's own exporter: loaded only where a collector is configured (extra `otel`).

The standard variables `OTEL_EXPORTER_OTLP_*`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are the exporter's
own. A thread makes the spans and sends them, so that no request waits; what it cannot send in time is dropped.
"""

import queue
import threading
import time

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from kernel.hops import Hop, Trail
from kernel.ids import new_span_id

log = structlog.get_logger(__name__)

MOST_WAITING = 2_048
BATCH = 128
EVERY_S = 1.0
LEAVE_S = 3.0
SCOPE = InstrumentationScope("atrium")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class OtlpSpans:
    """One span for a request, one below it for each hop; a replica's attempt has the id that the engine was told."""

    def __init__(self) -> None:
        """Starts its thread at the first request."""
        self._waiting: queue.Queue[Trail] = queue.Queue(MOST_WAITING)
        self._exporter = OTLPSpanExporter()
        self._resource = Resource.create({"service.name": "atrium"})
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        # Trails tell the time of `perf_counter`.
        self._epoch = time.time_ns() - time.perf_counter_ns()

    def take(self, trail: Trail) -> bool:
        """Take an ended request; False when too many wait already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._export, name="spans", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(trail)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(LEAVE_S)

    def _export(self) -> None:
        while not (self._ended.is_set() and self._waiting.empty()):
            trails = self._batch()
            if trails:
                spans = [span for trail in trails for span in self.spans_of(trail)]
                if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
                    log.warning("spans_not_sent", requests=len(trails))

    def _batch(self) -> list[Trail]:
        """What comes within a second, at most a batch."""
        trails: list[Trail] = []
        deadline = time.monotonic() + EVERY_S
        while len(trails) < BATCH:
            left = 0.0 if self._ended.is_set() else max(0.0, deadline - time.monotonic())
            try:
                trails.append(
                    self._waiting.get(timeout=min(left, 0.1)) if left else self._waiting.get_nowait()
                )
            except queue.Empty:
                if not left:
                    break
        return trails

    def spans_of(self, trail: Trail) -> list[ReadableSpan]:
        """The request's span and those of its hops."""
        trace_id = int(trail.trace_id, 16)
        context = SpanContext(trace_id, int(new_span_id(), 16), is_remote=False, trace_flags=_SAMPLED)
        parent = None
        if trail.parent:
            parent = SpanContext(trace_id, int(trail.parent, 16), is_remote=True, trace_flags=_SAMPLED)
        failed = trail.state == "failed" and trail.status >= 500
        root = ReadableSpan(
            name=f"{trail.door} {trail.route}".strip(),
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=_attributes(trail),
            kind=SpanKind.CONSUMER if trail.door == "job" else SpanKind.SERVER,
            status=Status(StatusCode.ERROR, trail.error) if failed else Status(StatusCode.UNSET),
            start_time=self._moment(trail.began),
            end_time=self._moment(trail.ended),
            instrumentation_scope=SCOPE,
        )
        return [root, *(self._span_of(hop, context) for hop in trail.hops)]

    def _span_of(self, hop: Hop, parent: SpanContext) -> ReadableSpan:
        name, began, ended, facts = hop
        span_id = str(facts.get("span") or new_span_id())
        outcome = str(facts.get("outcome", "ok"))
        return ReadableSpan(
            name=name,
            context=SpanContext(parent.trace_id, int(span_id, 16), is_remote=False, trace_flags=_SAMPLED),
            parent=parent,
            resource=self._resource,
            attributes={f"atrium.{fact}": value for fact, value in facts.items() if fact != "span"},
            kind=SpanKind.CLIENT if name == "attempt" else SpanKind.INTERNAL,
            status=Status(StatusCode.UNSET)
            if outcome in ("ok", "off")
            else Status(StatusCode.ERROR, outcome),
            start_time=self._moment(began),
            end_time=self._moment(ended),
            instrumentation_scope=SCOPE,
        )

    def _moment(self, seconds: float) -> int:
        return self._epoch + int(seconds * 1e9)


def _attributes(trail: Trail) -> dict[str, str | int | float | bool]:
    told: dict[str, str | int | float | bool] = {
        "atrium.request_id": trail.request_id,
        "atrium.state": trail.state,
        "http.request.method": trail.method,
        "http.response.status_code": trail.status,
        "url.path": trail.path,
        "gen_ai.request.model": trail.model,
        "atrium.assistant": trail.assistant,
        "error.type": trail.error,
    }
    if trail.asker is not None:
        told["atrium.tenant_id"] = str(trail.asker.tenant_id)
    if trail.first_byte:
        told["atrium.first_byte_ms"] = round(trail.first_byte_ms, 1)
    return {name: value for name, value in told.items() if value not in ("", 0)}
