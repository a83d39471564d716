"""A pool as calls keep it busy, for tests of how many replicas it should have."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from routing.scaling import PoolScaler
from routing.scaling_types import Decision, ScalingMode, ScalingPolicy, Signals, Why
from routing.types import PoolWork

# A Thursday.
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SLOTS, TOKENS = 10, 100
# A call of 100 tokens takes 5 s in any replica: one that is full does 10 / 5 = 2 calls a second, one at 60 % 1.2.
HOLD_S = 5.0


def policy(**fields: object) -> ScalingPolicy:
    return msgspec.structs.replace(
        ScalingPolicy(mode=ScalingMode.ON, minimum=1, maximum=20, start_s=60), **fields
    )


@dataclass
class Pool:
    """A pool as calls at `rate` a second keep it busy: what does not fit its replicas waits."""

    policy: ScalingPolicy
    ready: int = 1
    provisioned: int = 1
    at: float = 0.0
    waiting: float = 0.0
    done: float = 0.0
    ttft_ratio: float = 0.0
    scaler: PoolScaler = field(default_factory=PoolScaler)
    seen: list[Decision] = field(default_factory=list)

    def go(
        self, seconds: float, rate: float, follow: Callable[["Pool", Decision], None] | None = None
    ) -> Decision:
        for _ in range(int(seconds / 5)):
            self.at += 5
            most = self.ready * SLOTS / HOLD_S * 5
            come = rate * 5 + self.waiting
            served = min(most, come)
            self.waiting = come - served
            self.done += served
            running = min(self.ready * SLOTS, served / 5 * HOLD_S)
            signals = Signals(
                at=self.at,
                now=BEGIN + timedelta(seconds=self.at),
                ready=self.ready,
                provisioned=self.provisioned,
                running=round(running),
                waiting=round(self.waiting),
                work=PoolWork(
                    running=round(running * TOKENS),
                    waiting=round(self.waiting * TOKENS),
                    done=round(self.done * TOKENS),
                ),
                slots=SLOTS,
                ttft_ratio=self.ttft_ratio,
            )
            decision = self.scaler.decide(self.policy, signals)
            self.seen.append(decision)
            if follow is not None:
                follow(self, decision)
        return self.seen[-1]


def obey(pool: Pool, decision: Decision) -> None:
    """Replicas come and go at once."""
    pool.ready = pool.provisioned = decision.desired


def whys(decision: Decision) -> set[Why]:
    return {each.why for each in decision.reasons}
