"""From a question to the model call that answers it: rights, assistant, history, knowledge, prompt."""

import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec import structs

from assistants import selectors
from assistants.alike import KeptExchange
from assistants.ownership import owner_of
from assistants.prompting import PromptParts, build_prompt, question_of, search_query
from assistants.services.catalogue import find_assistant
from assistants.services.recalling import KeepingFlow, Recalled, TurnFlow, given_again, recall_turn
from assistants.types import AUTO_MODEL, AssistantDraft, AssistantView, Citation, Turn, TurnRequest
from inference.services import ensure_models, get_model
from inference.types import ContextPassage, ModelKind, Surface
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import (
    AtriumError,
    BadInput,
    ContextTooLong,
    LimitReached,
    ModelNotFound,
    NotFound,
    Unavailable,
    UpstreamFailed,
)
from kernel.hops import hop
from kernel.ids import parse_uuid, uuid7
from knowledge.services import find_passages
from knowledge.types import FoundPassages, Passage
from routing.errors import NotGivenAgain
from routing.services import Flow, dispatch, usable_models
from routing.types import ModelCall, QueuePlace
from substrate.units import run_unit
from tenants.services import require
from tenants.types import Principal

log = structlog.get_logger(__name__)

PASSAGE_LIMIT = 6
# Knowledge that fails in one of these ways is away: the answer goes on without it and says so.
_AWAY = (Unavailable, UpstreamFailed, ModelNotFound, LimitReached)


@dataclass(frozen=True, slots=True)
class PreparedTurn:
    """A turn that is ready to be dispatched. `offered` are the passages in the prompt, as citations.

    `knowledge_whole` says that its knowledge was searched as it should be, and nothing found is just being removed.
    """

    call: ModelCall
    offered: tuple[Citation, ...]
    question: str
    assistant: str
    conversation_id: uuid.UUID | None
    knowledge_away: bool
    knowledge_whole: bool
    shrinkable: bool


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a turn's prompt is made of, but for the passages."""

    assistant: AssistantView | None
    model: str
    context_tokens: int
    conversation_id: uuid.UUID | None
    history: tuple[Turn, ...]
    question: str


@asynccontextmanager
async def dispatch_turn(
    turn: TurnRequest,
    *,
    answering: uuid.UUID | None = None,
    tell: Callable[[QueuePlace], None] | None = None,
) -> AsyncIterator[tuple[PreparedTurn, TurnFlow]]:
    """Prepare the turn and begin its answer; `tell` hears where it stands in a queue (see `ModelCall`).

    An answer that was given to a question like this one is given again, where the assistant allows it. Tokens are
    estimated: a prompt that the engine finds too long is tried once more with half of it. Raises as `prepare_turn` and
    `dispatch`.
    """
    opening = await _open(turn, answering)
    recalled = await recall_turn(turn, opening.assistant, opening.history)
    async with AsyncExitStack() as stack:
        if recalled is not None and recalled.found is not None:
            given = _given(turn, opening, recalled.found)
            try:
                again = await stack.enter_async_context(dispatch(given.call))
            except NotGivenAgain:
                # Its model may not answer this call, or not now.
                recalled.found = None
            else:
                yield given, again
                return
        prepared = await _prepare(turn, opening)
        try:
            flow = await stack.enter_async_context(dispatch(structs.replace(prepared.call, tell=tell)))
        except AtriumError as error:
            if error.code != ContextTooLong.code or not prepared.shrinkable:
                raise
            log.info("prompt_shrunk", model=prepared.call.model, chars=prepared.call.prompt_chars)
            prepared = await _prepare(turn, opening, share=0.5)
            flow = await stack.enter_async_context(dispatch(structs.replace(prepared.call, tell=tell)))
        yield prepared, _kept(flow, prepared, recalled)


def _kept(flow: Flow, prepared: PreparedTurn, recalled: Recalled | None) -> TurnFlow:
    """The answer, kept when it has ended if that is allowed: not one that had to do without some of its knowledge."""
    if recalled is None:
        return flow
    recalled.keep = recalled.keep and prepared.knowledge_whole
    return KeepingFlow(flow, recalled, prepared.offered)


async def prepare_turn(
    turn: TurnRequest, *, answering: uuid.UUID | None = None, share: float = 1.0
) -> PreparedTurn:
    """Everything before the model, in `share` of its context. No transaction is open afterwards.

    `answering` is the message that shall hold the answer, where it and its question are stored already. Raises
    PermissionDenied, ModelNotFound (no such assistant or model), NotFound (conversation, knowledge base), BadInput,
    Unavailable.
    """
    return await _prepare(turn, await _open(turn, answering), share=share)


async def _open(turn: TurnRequest, answering: uuid.UUID | None) -> _Opening:
    require(turn.principal, "chat.use")
    with hop("assistant"):
        assistant = await resolve_assistant(turn)
        model = assistant.model if assistant is not None else turn.model or AUTO_MODEL
        context_tokens = await context_of(model, turn.principal)
    with hop("history") as found_history:
        conversation_id, history = await _history(turn, answering)
        found_history.facts["messages"] = len(history)
    return _Opening(assistant, model, context_tokens, conversation_id, history, question_of(turn.messages))


async def _prepare(turn: TurnRequest, opening: _Opening, *, share: float = 1.0) -> PreparedTurn:
    assistant, question = opening.assistant, opening.question
    knowledge, searched, away = await _knowledge(turn, assistant, question, opening.history)
    found = knowledge.passages
    prompt = build_prompt(
        PromptParts(
            messages=turn.messages,
            instructions=assistant.instructions if assistant is not None else "",
            passages=tuple(
                ContextPassage(index, passage.title, passage.text, passage.score)
                for index, passage in enumerate(found, 1)
            ),
            history=opening.history,
            fence=secrets.token_hex(8),
            searched=searched,
            knowledge_away=away,
            context_tokens=opening.context_tokens,
            answer_tokens=_answer_tokens(turn.body),
            share=share,
        )
    )
    call = structs.replace(
        _call(turn, opening),
        body={**turn.body, "messages": list(prompt.messages)},
        prompt_chars=prompt.chars,
        passages=prompt.passages,
    )
    offered = tuple(
        _citation(index, passage) for index, passage in enumerate(found[: len(prompt.passages)], 1)
    )
    return PreparedTurn(
        call,
        offered,
        question,
        call.assistant,
        opening.conversation_id,
        away,
        knowledge.whole,
        prompt.shrinkable,
    )


def _call(turn: TurnRequest, opening: _Opening) -> ModelCall:
    """The call of the turn as it was asked, without instructions, history and passages."""
    conversation_id = opening.conversation_id
    return ModelCall(
        principal=turn.principal,
        surface=Surface.CHAT,
        model=opening.model,
        body={**turn.body, "messages": list(turn.messages)},
        prompt_chars=len(opening.question),
        request_id=turn.request_id,
        origin=turn.origin,
        priority=turn.priority,
        traceparent=turn.traceparent,
        stream=turn.stream,
        question=opening.question,
        assistant=opening.assistant.slug if opening.assistant is not None else "",
        max_tokens=_answer_tokens(turn.body),
        conversation=str(conversation_id) if conversation_id is not None else "",
    )


def _given(turn: TurnRequest, opening: _Opening, found: KeptExchange) -> PreparedTurn:
    """The turn with an answer that is there already."""
    call = structs.replace(_call(turn, opening), given=given_again(found, turn))
    return PreparedTurn(
        call,
        found.citations,
        opening.question,
        call.assistant,
        opening.conversation_id,
        knowledge_away=False,
        knowledge_whole=True,
        shrinkable=False,
    )


async def resolve_assistant(turn: TurnRequest) -> AssistantView | None:
    """The assistant that the turn names or drafts, None for a plain model. Raises ModelNotFound, Unavailable."""
    if turn.draft is not None:
        return _drafted(turn.principal.tenant_id, turn.draft)
    if turn.assistant is None:
        return None
    found = await find_assistant(principal=turn.principal, slug=turn.assistant)
    if found is None:
        raise ModelNotFound(f"There is no assistant `{turn.assistant[:100]}`.", param="model")
    return found


def _drafted(tenant_id: uuid.UUID, draft: AssistantDraft) -> AssistantView:
    now = SYSTEM_CLOCK.now()
    return AssistantView(
        id=uuid7(),
        tenant_id=tenant_id,
        slug="",
        name=draft.name,
        description="",
        instructions=draft.instructions,
        model=draft.model,
        knowledge_base_ids=draft.knowledge_base_ids,
        suggestions=(),
        created_at=now,
        updated_at=now,
    )


async def context_of(model: str, principal: Principal) -> int:
    """The model's context in tokens, 0 when unknown; for `auto` the longest of those that the principal can use.

    Raises ModelNotFound, Unavailable.
    """
    await ensure_models()
    if model != AUTO_MODEL:
        return get_model(
            model, tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region
        ).context_length
    usable = usable_models(tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region)
    chat = [spec for spec in usable if spec.kind is ModelKind.CHAT]
    real = [spec for spec in chat if not spec.built_in] or chat
    return max((spec.context_length for spec in real), default=0)


async def _history(
    turn: TurnRequest, answering: uuid.UUID | None
) -> tuple[uuid.UUID | None, tuple[Turn, ...]]:
    if turn.conversation_id is None:
        return None, tuple(turn.history)
    require(turn.principal, "conversations.own")
    if len(turn.messages) != 1 or turn.messages[0].get("role") != "user":
        raise BadInput(
            "With `conversation_id` send exactly one new user message: the server adds the history.",
            param="messages",
        )
    conversation_id = parse_uuid(str(turn.conversation_id))
    if conversation_id is None:
        raise NotFound("There is no such conversation.", param="conversation_id")
    _, history = await run_unit(
        selectors.load_history, turn.principal.tenant_id, owner_of(turn.principal), conversation_id, answering
    )
    return conversation_id, history


async def _knowledge(
    turn: TurnRequest, assistant: AssistantView | None, question: str, history: tuple[Turn, ...]
) -> tuple[FoundPassages, bool, bool]:
    """(passages best first, whether knowledge was looked for, whether it was away)."""
    # A base that somebody names must exist; one that a stored assistant names may be gone by now.
    asked = turn.draft.knowledge_base_ids if turn.draft is not None else turn.knowledge_base_ids
    bases: list[uuid.UUID | str] = list(
        asked if asked is not None else assistant.knowledge_base_ids if assistant else ()
    )
    if not bases or not question.strip():
        return FoundPassages((), whole=True), bool(bases), False
    try:
        found = await _retrieve(turn, bases, search_query(question, history), own=asked is None)
    except _AWAY as error:
        log.warning(
            "knowledge_away",
            tenant_id=str(turn.principal.tenant_id),
            assistant=turn.assistant,
            error=str(error),
        )
        return FoundPassages((), whole=False), True, True
    return found, True, False


async def _retrieve(
    turn: TurnRequest, bases: list[uuid.UUID | str], query: str, *, own: bool
) -> FoundPassages:
    """Search; a base that the caller named must exist, one that the assistant names may be gone by now."""
    try:
        return await find_passages(
            principal=turn.principal,
            knowledge_base_ids=bases,
            query=query,
            limit=PASSAGE_LIMIT,
            skip_missing=own,
            origin=turn.origin,
        )
    except ExceptionGroup as errors:
        # Bases are searched side by side; the first known error stands for all.
        known, unknown = errors.split(AtriumError)
        if known is None or unknown is not None:
            raise
        raise known.exceptions[0] from errors


def _answer_tokens(body: Any) -> int:
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return 0


def _citation(index: int, passage: Passage) -> Citation:
    return Citation(
        index=index,
        document_id=str(passage.document_id),
        knowledge_base_id=str(passage.knowledge_base_id),
        title=passage.title,
        chunk_id=str(passage.chunk_id),
        text=passage.text,
        score=passage.score,
        url=passage.url,
    )
