"""From a request's trail to what is kept of it: which ways are worth keeping, and what a metered call's way was.

Pure of Django. A request is kept when it failed, when it was refused (its caller is known), or when it was slow: its
first byte came late, or the whole took long. Of the others a few a minute are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kernel.hops import Trail
from kernel.ids import uuid7
from tenants.types import RequestPart, TraceEntry, TraceHop, TraceState

# A streamed answer may well take long; it is slow when it takes so many times what its first byte may take.
WHOLE_FACTOR = 6
# Answered with a status below this, a request was not refused.
FIRST_REFUSAL = 400
FIRST_FAILURE = 500
# What nginx logs for a client that left before its answer.
CLIENT_LEFT = 499


def kept_as(trail: Trail, *, slow_ms: float) -> TraceState | None:
    """Why the way of an ended request is worth keeping, None when it is not for what came of it."""
    if trail.state == "failed":
        begun = bool(trail.first_byte) and trail.status < FIRST_REFUSAL
        refused = FIRST_REFUSAL <= trail.status < FIRST_FAILURE and not begun
        return TraceState.REFUSED if refused else TraceState.FAILED
    # Of one that left before its first byte the wait counts: that is why it left.
    waited = trail.first_byte_ms or trail.total_ms
    if waited >= slow_ms or trail.total_ms >= slow_ms * WHOLE_FACTOR:
        return TraceState.SLOW
    return None


def entry_of(trail: Trail, state: TraceState) -> TraceEntry | None:
    """What is kept of an ended request; None where nobody knows who asked."""
    asker = trail.asker
    if asker is None:
        return None
    served = _last(trail, "attempt")
    settled = [facts for name, _, _, facts in trail.hops if name == "settle"]
    return TraceEntry(
        record_id=uuid7(),
        request_id=trail.request_id,
        trace_id=trail.trace_id,
        tenant_id=asker.tenant_id,
        user_id=asker.user_id,
        api_key_id=asker.api_key_id,
        door=trail.door,
        route=f"{trail.method} {trail.path}".strip() or trail.route,
        state=state,
        status=trail.status,
        error=trail.error,
        model=trail.model or str(served.get("model", "")),
        assistant=trail.assistant,
        pool=str(served.get("pool", "")),
        replica=str(served.get("replica", "")),
        cache=str(_last(trail, "cache").get("outcome", "off")),
        stream=trail.stream,
        prompt_tokens=sum(int(each["prompt_tokens"]) for each in settled),
        completion_tokens=sum(int(each["completion_tokens"]) for each in settled),
        cost_nano=sum(int(each["cost_nano"]) for each in settled),
        started_at=datetime.now(UTC) - timedelta(milliseconds=trail.total_ms),
        queue_ms=round(sum(_ms(ended - began) for name, began, ended, _ in trail.hops if name == "queue")),
        first_byte_ms=round(trail.first_byte_ms),
        total_ms=round(trail.total_ms),
        hops=tuple(_hops(trail)),
    )


def _last(trail: Trail, name: str) -> dict[str, object]:
    """The facts of the last hop of this name that concerned the answer itself."""
    found = [facts for each, _, _, facts in trail.hops if each == name]
    return dict(found[-1]) if found else {}


def _hops(trail: Trail) -> Iterable[TraceHop]:
    yield TraceHop("door", 0.0, _ms(trail.ended - trail.began), {"door": trail.door, "status": trail.status})
    for name, began, ended, facts in sorted(trail.hops, key=lambda hop: hop[1]):
        yield TraceHop(name, _ms(began - trail.began), _ms(ended - began), dict(facts))
    if trail.first_byte:
        yield TraceHop("first_byte", _ms(trail.first_byte - trail.began), 0.0)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def hops_of_call(call: RequestPart) -> tuple[TraceHop, ...]:
    """The way of a call of which only its ledger's figures are known: wait, attempt, stream."""
    queue, first, total = float(call.queue_ms), float(call.first_byte_ms), float(call.total_ms)
    first = max(queue, first or total)
    place = {"model": call.model, "pool": call.pool, "replica": call.replica, "outcome": call.error or "ok"}
    hops = [
        TraceHop("queue", 0.0, queue, {"pool": call.pool}),
        TraceHop("attempt", queue, first - queue, place),
    ]
    if total > first:
        hops.append(TraceHop("stream", first, total - first))
    return tuple(hops)


def summary_of(traces: Sequence[RequestPart], calls: Sequence[RequestPart]) -> RequestPart:
    """One part that stands for all: the longest trace, or the call without one; tokens and cost of all calls."""
    parts = traces or calls
    chosen = max(parts, key=lambda each: each.total_ms)
    metered = calls or traces
    served = max(metered, key=lambda each: each.completion_tokens)
    return replace(
        chosen,
        model=served.model or chosen.model,
        pool=served.pool or chosen.pool,
        replica=served.replica or chosen.replica,
        assistant=chosen.assistant or served.assistant,
        prompt_tokens=sum(each.prompt_tokens for each in metered),
        completion_tokens=sum(each.completion_tokens for each in metered),
        cost_nano=sum(each.cost_nano for each in metered),
        queue_ms=chosen.queue_ms or sum(each.queue_ms for each in calls),
    )
