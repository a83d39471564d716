"""What a caller is told of its own rate limits, with every answer and every refusal."""

from msgspec import Struct


class RateTold(Struct, frozen=True, gc=False):
    """The tightest limit of one kind: how much a minute, what remains, and milliseconds until it is whole again."""

    limit: int
    remaining: int
    reset_ms: int


class Allowance(Struct, frozen=True, gc=False):
    """The rates that hold for a call, None where there is none. `warning` names the soft limits that are passed."""

    requests: RateTold | None = None
    tokens: RateTold | None = None
    warning: str = ""
