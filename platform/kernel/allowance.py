"""What a caller is told of its own rate limits, with every answer and every refusal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateTold:
    """The tightest limit of one kind: how much a minute, what remains, and milliseconds until it is whole again."""

    limit: int
    remaining: int
    reset_ms: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """The rates that hold for a call, None where there is none. `warning` names the soft limits that are passed."""

    requests: RateTold | None = None
    tokens: RateTold | None = None
    warning: str = ""
