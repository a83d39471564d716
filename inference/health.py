"""Which replicas are in service, judged by this process from probes and from its own attempts. Pure policy.

A replica goes out after two failed probes in a row, or after three attempts in a row that found it unreachable; it
comes back with the first probe that succeeds, a breaker's at the earliest after two seconds. An engine that says it
is full is healthy. What is out is only a preference: routing uses it when everything is out.

A replica may also be left alone although it answers (`outliers.py` says when): for ten seconds, twice as long each time
that it happens again. Then it is on trial, and dearer than the others for half a minute, less and less so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from inference.types import ReplicaHealth
from kernel.clock import SYSTEM_CLOCK, Clock

PROBES_TO_LEAVE = 2
FAILURES_TO_LEAVE = 3
BREAKER_HOLD_S = 2.0
LEAVE_ALONE_S = 10.0
MOST_ALONE_S = 300.0
TRIAL_S = 30.0
# What a call on a replica at the beginning of its trial is said to cost more. Seconds.
TRIAL_COST_S = 5.0
# After so long without another offence it counts as the first again.
FORGIVEN_S = 600.0


@dataclass(slots=True)
class _Record:
    since: datetime
    failures: int = 0
    failed_probes: int = 0
    out: bool = False
    not_before: float = 0.0
    error: str = ""
    error_at: datetime | None = None
    checked_at: datetime | None = None
    latency_ms: float | None = None
    alone_until: float = 0.0
    alone_why: str = ""
    alone_times: int = 0


class HealthBook:
    """What is known of each replica; one that was never heard of is in service."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Everything is in service at first."""
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._turns = 0
        # Replicas that were left alone and are not trusted again yet.
        self.suspects: set[str] = set()

    def available(self, replica_id: str) -> bool:
        """Whether the replica is in service."""
        record = self._records.get(replica_id)
        if record is None:
            return True
        if record.alone_why and self._clock.monotonic() < record.alone_until:
            return False
        return not record.out

    def mark(self) -> tuple[int, int]:
        """Another one whenever a replica may have come into service or gone out of it."""
        if not self.suspects:
            return self._turns, 0
        return self._turns, sum(not self.available(each) for each in self.suspects)

    def leave_alone(self, replica_id: str, reason: str) -> float:
        """Leave the replica alone although it answers; the seconds for which it is."""
        record = self._record(replica_id)
        now = self._clock.monotonic()
        if now > record.alone_until + FORGIVEN_S:
            record.alone_times = 0
        seconds = min(MOST_ALONE_S, LEAVE_ALONE_S * float(2 ** min(record.alone_times, 10)))
        record.alone_times += 1
        record.alone_why = reason
        record.alone_until = now + seconds
        self._turns += 1
        self.suspects.add(replica_id)
        return seconds

    def trial_cost(self, replica_id: str) -> float:
        """What a call on the replica is said to cost more because it has just been left alone. Seconds."""
        record = self._records.get(replica_id)
        if record is None or not record.alone_why:
            return 0.0
        left = record.alone_until + TRIAL_S - self._clock.monotonic()
        if left <= 0:
            record.alone_why = ""
            self.suspects.discard(replica_id)
            return 0.0
        return TRIAL_COST_S * min(1.0, left / TRIAL_S)

    def read(self, replica_id: str) -> ReplicaHealth | None:
        """What is known of the replica; None when it was never heard of."""
        record = self._records.get(replica_id)
        if record is None:
            return None
        now = self._clock.monotonic()
        alone_s = max(0.0, record.alone_until - now) if record.alone_why else 0.0
        return ReplicaHealth(
            available=not record.out and not alone_s,
            since=record.since,
            checked_at=record.checked_at,
            latency_ms=record.latency_ms,
            error=record.error,
            error_at=record.error_at,
            left_alone=record.alone_why if alone_s else "",
            left_alone_s=alone_s,
            on_trial=bool(record.alone_why) and not alone_s and now < record.alone_until + TRIAL_S,
        )

    def attempt_succeeded(self, replica_id: str) -> None:
        """The replica gave a first byte: whatever was held against it is void."""
        record = self._records.get(replica_id)
        if record is not None and (record.failures or record.out):
            record.failures = 0
            self._come_back(record)

    def attempt_failed(self, replica_id: str, error: str = "") -> bool:
        """The replica could not be reached, or died; True when that has just put it out."""
        record = self._record(replica_id)
        self._note(record, error)
        record.failures += 1
        if record.failures < FAILURES_TO_LEAVE:
            return False
        record.not_before = self._clock.monotonic() + BREAKER_HOLD_S
        return self._leave(record)

    def probe_succeeded(self, replica_id: str, latency_ms: float | None = None) -> bool:
        """The health check was fine and took `latency_ms`; True when that has just brought it back."""
        record = self._record(replica_id)
        record.checked_at = self._clock.now()
        record.latency_ms = latency_ms
        record.failed_probes = 0
        if not record.out or self._clock.monotonic() < record.not_before:
            return False
        record.failures = 0
        self._come_back(record)
        return True

    def probe_failed(self, replica_id: str, error: str = "") -> bool:
        """The health check failed; True when that has just put it out."""
        record = self._record(replica_id)
        record.checked_at = self._clock.now()
        record.latency_ms = None
        self._note(record, error)
        record.failed_probes += 1
        return record.failed_probes >= PROBES_TO_LEAVE and self._leave(record)

    def keep_only(self, replica_ids: Iterable[str]) -> None:
        """Forget every replica but these."""
        kept = set(replica_ids)
        self._records = {key: record for key, record in self._records.items() if key in kept}
        self.suspects &= kept

    def _record(self, replica_id: str) -> _Record:
        found = self._records.get(replica_id)
        if found is None:
            found = self._records[replica_id] = _Record(since=self._clock.now())
        return found

    def _note(self, record: _Record, error: str) -> None:
        record.error = error or "no reason was given"
        record.error_at = self._clock.now()

    def _come_back(self, record: _Record) -> None:
        if record.out:
            record.out = False
            self._turns += 1
            record.since = self._clock.now()

    def _leave(self, record: _Record) -> bool:
        was_out, record.out = record.out, True
        if not was_out:
            self._turns += 1
            record.since = self._clock.now()
        return not was_out
