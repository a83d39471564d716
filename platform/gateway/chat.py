"""`POST /v1/chat/completions`: a model's answer, or an assistant's, whole or streamed."""

from time import perf_counter

from assistants.types import TurnRequest
from gateway.answers import send_completion, send_stream
from gateway.bodies import ChatRequest, read_chat
from gateway.caching import cache_wish
from gateway.doors import Doors
from gateway.exchange import Exchange
from inference.types import Surface
from routing.types import ModelCall
from tenants.types import Principal

ASSISTANT_PREFIX = "assistant/"


async def answer_chat(exchange: Exchange, doors: Doors, principal: Principal) -> None:
    """Answer a chat request. Raises AtriumError before the first byte; after it errors are events of the stream."""
    began = perf_counter()
    request = read_chat(await exchange.read_body(), principal)
    exchange.trail.note("validate", began)
    known = request.known
    exchange.model = known.model
    with exchange.attend():
        if (
            known.model.startswith(ASSISTANT_PREFIX)
            or known.conversation_id is not None
            or known.knowledge_base_ids is not None
        ):
            await _answer_turn(exchange, doors, principal, request)
        else:
            await _answer_call(exchange, doors, principal, request)


async def _answer_call(exchange: Exchange, doors: Doors, principal: Principal, request: ChatRequest) -> None:
    known = request.known
    stream = bool(known.stream)
    call = ModelCall(
        principal=principal,
        surface=Surface.CHAT,
        model=known.model,
        body=request.body,
        prompt_chars=request.prompt_chars,
        request_id=exchange.request_id,
        origin="v1",
        priority=request.priority,
        traceparent=exchange.traceparent,
        stream=stream,
        max_tokens=request.max_tokens,
        cache=cache_wish(exchange.headers),
    )
    async with doors.dispatch(call) as flow:
        if stream:
            await send_stream(exchange, flow, usage_asked=_usage_asked(request))
        else:
            await send_completion(exchange, flow)


async def _answer_turn(exchange: Exchange, doors: Doors, principal: Principal, request: ChatRequest) -> None:
    known = request.known
    is_assistant = known.model.startswith(ASSISTANT_PREFIX)
    slug = known.model.removeprefix(ASSISTANT_PREFIX) if is_assistant else None
    exchange.assistant = slug or ""
    messages = request.body.pop("messages")
    request.body.pop("model", None)
    turn = TurnRequest(
        principal=principal,
        assistant=slug,
        model=None if is_assistant else known.model,
        messages=messages,
        conversation_id=known.conversation_id,
        knowledge_base_ids=known.knowledge_base_ids,
        body=request.body,
        request_id=exchange.request_id,
        origin="v1",
        stream=bool(known.stream),
        priority=request.priority,
        traceparent=exchange.traceparent,
        cache=cache_wish(exchange.headers),
    )
    async with doors.answer(turn) as answer:
        if known.stream:
            await send_stream(
                exchange,
                answer,
                usage_asked=_usage_asked(request),
                cited=lambda: answer.citations,
            )
        else:
            await send_completion(exchange, answer, cited=lambda: answer.citations)


def _usage_asked(request: ChatRequest) -> bool:
    options = request.known.stream_options
    return options is not None and bool(options.include_usage)
