"""Who acts in the request, command or job at hand: named in every record of what was done."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a key, or the system itself. `label` is what people call it: an e-mail address, a key's prefix."""

    kind: str
    label: str
    user_id: uuid.UUID | None = None


SYSTEM = Actor("system", "Atrium")

_current: ContextVar[Actor] = ContextVar("atrium_actor", default=SYSTEM)


def current_actor() -> Actor:
    """Who acts; the system, where nobody said."""
    return _current.get()


def act_as(actor: Actor) -> None:
    """Say who acts for the rest of this context: a request's, once it is known who asks."""
    _current.set(actor)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Say who acts within the block."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)
