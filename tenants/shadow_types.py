"""What crosses the door of tenants of copies: calls that were answered, and asked of another model too to compare both."""

import uuid
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

# The origin of copies in the ledger: they are paid for, and are no request of anybody.
SHADOW = "shadow"


class PairState(StrEnum):
    """What became of a copy: it was answered, an engine did not answer it, or it never reached one."""

    COMPARED = "compared"
    FAILED = "failed"
    DROPPED = "dropped"


class PairSide(Struct, frozen=True):
    """One of the two answers. Times are milliseconds without the wait for a slot; `first_ms` is 0 of one that came whole."""

    first_ms: int = 0
    total_ms: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    finish_reason: str = ""


NO_SIDE = PairSide()


class PairEntry(Struct, frozen=True):
    """An answered call of `model` beside its copy, of `shadow`, as it goes through the spool. Numbers, never content.

    `record_id` is made by Atrium and unique: writing the same entry twice counts once. `error` is why there is no second
    answer. `agreement` is how far the two texts agree (0–1), `same` whether they are the same but for spelling; None where
    they were not compared.
    """

    record_id: uuid.UUID
    tenant_id: uuid.UUID
    started_at: datetime
    model: str
    shadow: str
    state: PairState
    error: str = ""
    stream: bool = False
    answered: PairSide = NO_SIDE
    copied: PairSide = NO_SIDE
    agreement: float | None = None
    same: bool | None = None
    kind: str = "pair"
