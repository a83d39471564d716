"""What the gateway asks of the apps below, as one bundle: the composition names the real services, tests give fakes."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from assistants.types import Citation, TurnRequest
from inference.types import Chunk, Completion, Embeddings, ModelSpec
from kernel.errors import AtriumError
from routing.types import ModelCall, RoutingDecision
from tenants.types import Principal


class AnswerFlow(Protocol):
    """A model's answer that has begun: where it comes from is final, its first byte is here.

    Usage is settled before `chunks` ends or `completion` returns. Leaving the surrounding context early cancels it.
    """

    @property
    def decision(self) -> RoutingDecision:
        """Where the call went."""
        ...

    def chunks(self) -> AsyncIterator[Chunk]:
        """The answer as it is made."""
        ...

    async def completion(self) -> Completion:
        """The whole answer."""
        ...


class CitedFlow(AnswerFlow, Protocol):
    """An assistant's answer; `citations` are final once the text has ended."""

    @property
    def citations(self) -> Sequence[Citation]:
        """The passages that the answer refers to."""
        ...

    @property
    def conversation_id(self) -> uuid.UUID | None:
        """The conversation that the turn was stored in, if any."""
        ...


class ListedAssistant(Protocol):
    """What the list of models shows of an assistant."""

    @property
    def slug(self) -> str:
        """Its name after `assistant/`."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        ...


@dataclass(frozen=True, slots=True)
class Doors:
    """The services that the gateway uses."""

    authenticate: Callable[[str], Awaitable[Principal]]
    require: Callable[[Principal, str], None]
    until_refused: Callable[[Principal, Callable[[], Awaitable[Principal]]], Awaitable[AtriumError]]
    dispatch: Callable[[ModelCall], AbstractAsyncContextManager[AnswerFlow]]
    embed: Callable[[ModelCall], Awaitable[tuple[Embeddings, RoutingDecision]]]
    answer: Callable[[TurnRequest], AbstractAsyncContextManager[CitedFlow]]
    list_models: Callable[[Principal], Sequence[ModelSpec]]
    list_assistants: Callable[[Principal], Awaitable[Sequence[ListedAssistant]]]
    refuse_key_in_address: Callable[[bytes], Awaitable[None]]
