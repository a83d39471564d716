"""Which replicas are to be left alone for a while although their health checks are fine. Pure policy.

Two signs: a replica that has work and gives no token (an engine that hangs answers `/health` all the same), and one whose
quickest stretches are several times as slow as those of the others of its model, and as its own on a usual day. The
quickest, for a healthy replica that reads long prompts is slow between times too. Slow reading is not judged: it is
learned as a speed, and costs. A third of a model's replicas at most are left alone, and never the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from inference.vitals import Vital

NO_PROGRESS_S = 15.0
TIMES_SLOWER = 3.0
SLOW_FOR_S = 3.0
# Below these nobody notices.
LEAST_GAP_S = 0.03
# What a judgement rests on.
LEAST_TOKENS = 48
MOST_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Watched:
    """A replica of one model, and whether it takes calls now."""

    id: str
    vital: Vital
    available: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a replica is to be left alone. `hangs`: calls that wait for it are to be told."""

    id: str
    reason: str
    hangs: bool


def judge(replicas: Sequence[Watched], now: float) -> list[Verdict]:
    """The replicas of one model that are to be left alone from now on, the worst first."""
    serving = [each for each in replicas if each.available]
    room = most_left_alone(len(replicas)) - (len(replicas) - len(serving))
    hanging = [each for each in serving if hangs(each.vital, now)]
    verdicts = [
        Verdict(each.id, f"no token for {now - each.vital.progress_at:.0f} s", hangs=True) for each in hanging
    ]
    slow = [(ratio, each.id, reason) for each in serving for ratio, reason in _slowness(each, serving, now)]
    named = {verdict.id for verdict in verdicts}
    for _, replica, reason in sorted(slow, reverse=True):
        if replica not in named:
            named.add(replica)
            verdicts.append(Verdict(replica, reason, hangs=False))
    return verdicts[: max(0, min(room, len(serving) - 1))]


def most_left_alone(count: int) -> int:
    """How many of `count` replicas may be left alone at once: a third, one where there are two or three, never all."""
    return min(count - 1, max(1, int(count * MOST_SHARE))) if count > 1 else 0


def hangs(vital: Vital, now: float) -> bool:
    """Whether the replica has work and has given no token for too long.

    Only streams show tokens as they come; where the engine tells its counters, any call does.
    """
    busy = vital.running if vital.fresh(now) else vital.streams
    return busy > 0 and now > max(vital.progress_at, vital.due_at) + NO_PROGRESS_S


def _slowness(one: Watched, serving: Sequence[Watched], now: float) -> list[tuple[float, str]]:
    """How many times slower the replica is than the others; empty when it is not."""
    mine = _quickest(one, now)
    others = [gap for each in serving if each is not one and (gap := _quickest(each, now)) is not None]
    if mine is None or not others or mine <= LEAST_GAP_S:
        one.vital.slow_for(now, slow=False)
        return []
    ratio = mine / max(median(others), 1e-6)
    # Unequal machines are no outliers: one that always was this slow is known to be.
    vital = one.vital
    changed = mine > 2 * vital.usual_gap_s or vital.gap_tokens < 20 * LEAST_TOKENS
    if vital.slow_for(now, slow=ratio > TIMES_SLOWER and changed) < SLOW_FOR_S:
        return []
    return [(ratio, f"{ratio:.1f} times as long between tokens as the others")]


def _quickest(one: Watched, now: float) -> float | None:
    """Its quickest stretch, where enough tokens were seen to say so."""
    return one.vital.quickest_gap(now) if one.vital.gap_tokens >= LEAST_TOKENS else None
