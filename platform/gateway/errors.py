"""The one mapping of errors to OpenAI's wire form: status, headers, body; and the event that ends a broken stream."""

import functools
import math
from collections.abc import Sequence

import orjson

from kernel.allowance import Allowance, RateTold
from kernel.errors import (
    AtriumError,
    BadInput,
    EngineRefused,
    EngineUnavailable,
    LimitReached,
    NotSignedIn,
    QuotaExhausted,
)

Header = tuple[bytes, bytes]
DEFAULT_RETRY_S = 1.0
# The same objects each time: heads are laid out once for each set of names.
_OF_REQUESTS = b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"
_OF_TOKENS = b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"


class MethodNotAllowed(BadInput):
    """The path is known, the method is not one of its own."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        """`allowed` become the `allow` header."""
        super().__init__(f"This path takes {' or '.join(allowed)}.")
        self.allowed = tuple(allowed)


def error_status(error: AtriumError) -> int:
    """The HTTP status of `error`; the engine's own for what the engine refused."""
    return error.engine_status if isinstance(error, EngineRefused) else error.status


def error_body(error: AtriumError, *, retry_after_ms: int | None = None) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}` as JSON, with `retry_after_ms` where no header can say it.

    To the client an engine that cannot be reached is a server that is overloaded: which part is away is not its
    business.
    """
    code = "server_overloaded" if isinstance(error, EngineUnavailable) else error.code
    told: dict[str, str | int | None] = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": code,
    }
    if retry_after_ms is not None:
        told["retry_after_ms"] = retry_after_ms
    return orjson.dumps({"error": told})


def error_headers(error: AtriumError) -> list[Header]:
    """What tells the client whether and when to come back.

    `retry-after` is in seconds, rounded up and at least 1; `retry-after-ms` is exact. A budget that is used up says
    `x-should-retry: false`, for the official clients else retry every 429.
    """
    headers: list[Header] = []
    if isinstance(error, QuotaExhausted):
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, LimitReached):
        headers += allowance_headers(error.allowance)
    if error.retry_after_s is not None or (error.status == 503 and error.retryable):
        seconds = DEFAULT_RETRY_S if error.retry_after_s is None else max(error.retry_after_s, 0.0)
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(seconds))))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(seconds * 1000)))
    if isinstance(error, NotSignedIn):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    return headers


def allowance_headers(allowance: Allowance | None) -> list[Header]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` of the limits there are; resets as `0.6s`.

    `x-atrium-limit-warning` names the soft limits that are passed.
    """
    if allowance is None:
        return []
    headers: list[Header] = []
    if allowance.requests is not None:
        headers += _rate_headers(_OF_REQUESTS, allowance.requests)
    if allowance.tokens is not None:
        headers += _rate_headers(_OF_TOKENS, allowance.tokens)
    if allowance.warning:
        headers.append((b"x-atrium-limit-warning", allowance.warning.encode("latin-1", "replace")))
    return headers


def _rate_headers(names: tuple[bytes, bytes, bytes], told: RateTold) -> tuple[Header, ...]:
    limit, remaining, reset = names
    return (
        (limit, _whole(told.limit)),
        (remaining, b"%d" % told.remaining),
        (reset, _seconds(told.reset_ms)),
    )


# Limits are few, and a rate that is used a little is whole again within some milliseconds.
@functools.lru_cache(maxsize=1024)
def _whole(number: int) -> bytes:
    return b"%d" % number


@functools.lru_cache(maxsize=4096)
def _seconds(milliseconds: int) -> bytes:
    return b"%.9gs" % (milliseconds / 1000)


def error_event(error: AtriumError) -> bytes:
    """The server-sent event that ends a stream which had already begun."""
    wait = error.retry_after_s
    hint = None if wait is None else math.ceil(wait * 1000)
    return b"data: " + error_body(error, retry_after_ms=hint) + b"\n\n"
