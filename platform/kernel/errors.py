"""Every error Atrium raises on purpose, as one tree.

AtriumError
├── BadInput                400  the request itself is wrong
│   ├── ContextTooLong      400  the prompt does not fit the model
│   └── TooLarge            413  the body or the file is over its limit
├── NotSignedIn             401  no credential, or one that is not valid
├── PermissionDenied        403  a valid credential that may not do this
│   └── TenantSuspended     403
├── NotFound                404  unknown, or of another tenant: the two look alike
│   └── ModelNotFound       404
├── Conflict                409  the state of the thing forbids it now
├── Stale                   412  somebody else changed it since it was read
├── LimitReached            429
│   ├── RateLimited         429  retryable: own limit, or own share of the queue
│   │   └── QueueShareFull  429  too many of the tenant's calls wait already
│   └── QuotaExhausted      429  terminal until the period ends
├── UpstreamFailed          502  the engine answered rubbish, or died
│   ├── EngineRefused       4xx  the engine says the request is wrong; passed on
│   └── EngineUnavailable   503  not reachable, or says it is full: try another replica
├── Unavailable             503  retryable: a part Atrium needs is away
│   ├── ServerOverloaded    503  the queue is full, or waiting took too long
│   └── NoReplica           503  no replica of the model is in service
└── Internal                500  a bug, worded for the outside

`retryable` says whether the same request may succeed later; each door maps `status`, `kind` and `code` to its
own wire form in one place.
"""

from typing import ClassVar

from kernel.allowance import Allowance


class AtriumError(Exception):
    """Root of the tree. `message` is safe to show to the caller: it never holds secrets or other tenants' words."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    code: str = "internal_error"
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str] = "Something went wrong on the server."

    def __init__(
        self,
        message: str = "",
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """`param` names the offending field; `retry_after_s` is seconds until a retry makes sense."""
        self.message = message or self.default_message
        self.param = param
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code
        super().__init__(self.message)


class BadInput(AtriumError):
    """The request is malformed, or a value is not allowed."""

    status = 400
    kind = "invalid_request_error"
    code = "invalid_request_error"
    default_message = "The request is not valid."


class ContextTooLong(BadInput):
    """The prompt and the asked-for answer do not fit the model's context."""

    code = "context_length_exceeded"
    default_message = "The prompt is longer than the model's context."


class TooLarge(BadInput):
    """The body or the file is larger than allowed."""

    status = 413
    code = "request_too_large"
    default_message = "The request is too large."


class NotSignedIn(AtriumError):
    """No credential, or one that is not (or no longer) valid."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"
    default_message = "The API key or session is missing, unknown, expired or revoked."


class PermissionDenied(AtriumError):
    """The credential is valid, but may not do this."""

    status = 403
    kind = "permission_error"
    code = "permission_denied"
    default_message = "You are not allowed to do this."


class TenantSuspended(PermissionDenied):
    """The tenant of the credential is suspended."""

    code = "tenant_suspended"
    default_message = "This tenant is suspended."


class NotFound(AtriumError):
    """Unknown to the caller; things of other tenants are unknown too."""

    status = 404
    kind = "invalid_request_error"
    code = "not_found"
    default_message = "There is no such thing."


class ModelNotFound(NotFound):
    """No model or assistant of this id can be used by the caller."""

    code = "model_not_found"
    default_message = "There is no such model."


class Conflict(AtriumError):
    """The present state of the thing forbids the act."""

    status = 409
    kind = "invalid_request_error"
    code = "conflict"
    default_message = "This conflicts with the present state."


class Stale(AtriumError):
    """Somebody changed the thing after the caller had read it; nothing was written."""

    status = 412
    kind = "invalid_request_error"
    code = "version_conflict"
    default_message = "This was changed meanwhile. Read it again, then decide."


class LimitReached(AtriumError):
    """A limit of the caller is used up."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"
    default_message = "A limit is reached."

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, allowance: Allowance | None = None
    ) -> None:
        """`allowance` is what the caller is told of its rates."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.allowance = allowance


class RateLimited(LimitReached):
    """A rate limit, or the caller's own share of the queue, is used up for now."""

    retryable = True


class QueueShareFull(RateLimited):
    """As many calls of the tenant wait in this queue as may."""

    default_message = "Too many requests of this tenant wait for this model."


class QuotaExhausted(LimitReached):
    """A budget or quota is used up until its period ends."""

    kind = "insufficient_quota"
    code = "insufficient_quota"
    default_message = "The budget of this period is used up."


class UpstreamFailed(AtriumError):
    """The engine failed after it had taken the request."""

    status = 502
    code = "engine_failed"
    retryable = True
    default_message = "The engine failed while answering."


class EngineRefused(UpstreamFailed):
    """The engine says the request is wrong. `status` is the engine's own 4xx; another replica would say the same."""

    kind = "invalid_request_error"
    code = "invalid_request_error"
    retryable = False

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        """`status` is the engine's status code, 400–499."""
        super().__init__(message, param=param)
        self.engine_status = status


class EngineUnavailable(UpstreamFailed):
    """The engine cannot be reached, says it is full, or gave no first byte in time: another replica may do."""

    status = 503
    code = "engine_unavailable"
    default_message = "The engine is not reachable."


class Unavailable(AtriumError):
    """A part that Atrium needs for this is away for now."""

    status = 503
    kind = "server_error"
    code = "unavailable"
    retryable = True
    default_message = "This is not available at the moment."


class ServerOverloaded(Unavailable):
    """The queue is full, or the wait for a slot took longer than allowed."""

    code = "server_overloaded"
    default_message = "The servers of this model are overloaded."


class NoReplica(Unavailable):
    """No replica of the model is in service."""

    code = "server_overloaded"
    default_message = "No replica of this model is in service."


class Internal(AtriumError):
    """A bug. The log has the cause under the request id."""
