"""An assistant's answer for callers that read it themselves (`/v1`): cited, and stored when it has ended."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from assistants.citations import used_citations
from assistants.ownership import owner_of
from assistants.services.recalling import TurnFlow
from assistants.services.transcripts import Ending, NewRun, store_exchange
from assistants.services.turns import PreparedTurn, dispatch_turn
from assistants.types import Citation, MessageState, TurnRequest
from assistants.usage import usage_object
from inference.types import Chunk, Completion
from kernel.errors import AtriumError
from kernel.ids import uuid7
from routing.types import RoutingDecision
from substrate.units import run_unit
from tenants.types import Principal

log = structlog.get_logger(__name__)


class Answer:
    """An answer that has begun. `citations` are final, and the exchange is stored, once its text has ended."""

    def __init__(self, flow: TurnFlow, prepared: PreparedTurn, principal: Principal) -> None:
        """Made by `answer`."""
        self._flow = flow
        self._prepared = prepared
        self._principal = principal
        self._text: list[str] = []
        self._finish_reason = ""
        self._stored = prepared.conversation_id is None
        self.citations: tuple[Citation, ...] = ()

    @property
    def decision(self) -> RoutingDecision:
        """Where the call went."""
        return self._flow.decision

    @property
    def conversation_id(self) -> uuid.UUID | None:
        """The conversation that the exchange is stored in, if any."""
        return self._prepared.conversation_id

    @property
    def knowledge_away(self) -> bool:
        """Whether knowledge was to be looked for and could not be."""
        return self._prepared.knowledge_away

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The answer as it is made. Raises UpstreamFailed; what was said until then is stored as failed."""
        try:
            async for chunk in self._flow.chunks():
                self._text.append(chunk.text)
                self._finish_reason = chunk.finish_reason or self._finish_reason
                yield chunk
        except AtriumError as error:
            await self.end(MessageState.FAILED, error)
            raise
        await self.end(MessageState.COMPLETED)

    async def completion(self) -> Completion:
        """The whole answer."""
        completion = await self._flow.completion()
        self._text = [completion.text]
        self._finish_reason = completion.finish_reason or ""
        await self.end(MessageState.COMPLETED)
        return completion

    async def end(self, state: MessageState, error: AtriumError | None = None) -> None:
        """Settle the citations and store the exchange, once. Raises Unavailable, NotFound (deleted meanwhile)."""
        text = "".join(self._text)
        self.citations = used_citations(text, self._prepared.offered)
        if self._stored:
            return
        self._stored = True
        settled = self._flow.settled
        ending = Ending(
            state=state,
            content=text,
            model=self.decision.model,
            citations=self.citations,
            usage=usage_object(settled.usage) if settled is not None else {},
            finish_reason=self._finish_reason,
            error_code=error.code if error is not None else "",
            error=error.message if error is not None else "",
        )
        new = NewRun(
            tenant_id=self._principal.tenant_id,
            owner=owner_of(self._principal),
            message_id=uuid7(),
            request_id="",
            content=self._prepared.question,
            assistant=self._prepared.assistant,
            conversation_id=self._prepared.conversation_id,
        )
        await asyncio.shield(run_unit(store_exchange, new, ending))


@asynccontextmanager
async def answer(turn: TurnRequest) -> AsyncIterator[Answer]:
    """Answer a turn: entered once the first byte is there. Leaving before the end stops the engine.

    With a conversation, question and answer are stored together when the answer has ended: completed, failed after
    its first byte, or stopped because the caller left; a call that was refused stores nothing. Raises as
    `prepare_turn` and `dispatch`.
    """
    begun: Answer | None = None
    try:
        async with dispatch_turn(turn) as (prepared, flow):
            begun = Answer(flow, prepared, turn.principal)
            yield begun
    finally:
        if begun is not None:
            await _store_left(begun)


async def _store_left(left: Answer) -> None:
    """Store what was said to a caller that left; a database that is away costs only this transcript."""
    try:
        await left.end(MessageState.STOPPED)
    except AtriumError as error:
        log.warning("exchange_not_stored", conversation_id=str(left.conversation_id), error=str(error))
