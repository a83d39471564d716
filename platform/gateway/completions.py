"""`POST /v1/completions`: the older route, a prompt instead of messages."""

from gateway.answers import send_completion, send_stream
from gateway.bodies import (
    CompletionBody,
    check,
    choose_priority,
    parse_json,
    prompt_length,
    strip,
)
from gateway.caching import cache_wish
from gateway.doors import Doors
from gateway.exchange import Exchange
from inference.types import Surface
from kernel.hops import hop
from routing.types import ModelCall
from tenants.types import Principal


async def answer_completion(exchange: Exchange, doors: Doors, principal: Principal) -> None:
    """Answer a completion request. Raises AtriumError before the first byte."""
    with hop("validate"):
        body = parse_json(await exchange.read_body())
        known = check(body, CompletionBody)
    exchange.model = known.model
    call = ModelCall(
        principal=principal,
        surface=Surface.COMPLETIONS,
        model=known.model,
        body=strip(body),
        prompt_chars=prompt_length(known.prompt),
        request_id=exchange.request_id,
        origin="v1",
        priority=choose_priority(known.priority, principal),
        traceparent=exchange.traceparent,
        stream=bool(known.stream),
        max_tokens=known.max_tokens or 0,
        cache=cache_wish(exchange.headers),
    )
    options = known.stream_options
    with exchange.attend():
        async with doors.dispatch(call) as flow:
            if known.stream:
                asked = options is not None and bool(options.include_usage)
                await send_stream(exchange, flow, usage_asked=asked)
            else:
                await send_completion(exchange, flow)
