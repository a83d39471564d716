"""`POST /v1/embeddings`: vectors as numbers, or as base64 of little-endian float32 (what the official client asks)."""

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Any

import orjson

from gateway.answers import decision_headers
from gateway.bodies import (
    EmbeddingBody,
    check,
    choose_priority,
    parse_json,
    prompt_length,
    strip,
)
from gateway.doors import Doors
from gateway.exchange import Exchange
from inference.types import Embeddings, Surface
from kernel.errors import BadInput
from kernel.hops import hop
from routing.types import ModelCall
from tenants.types import Principal

MOST_INPUTS = 2048


async def answer_embeddings(exchange: Exchange, doors: Doors, principal: Principal) -> None:
    """Answer an embedding request. Raises AtriumError."""
    with hop("validate"):
        body = parse_json(await exchange.read_body())
        known = check(body, EmbeddingBody)
    exchange.model = known.model
    body = strip(body, "encoding_format")
    body["input"] = input_list(known.input)
    call = ModelCall(
        principal=principal,
        surface=Surface.EMBEDDINGS,
        model=known.model,
        body=body,
        prompt_chars=prompt_length(known.input),
        request_id=exchange.request_id,
        origin="v1",
        priority=choose_priority(known.priority, principal),
        traceparent=exchange.traceparent,
    )
    with exchange.attend():
        embeddings, decision = await doors.embed(call)
        answer = embeddings_body(embeddings, decision.model, as_base64=known.encoding_format == "base64")
        await exchange.answer(200, answer, decision_headers(exchange, decision))


def input_list(given: str | list[str | int | list[int]]) -> list[str] | list[list[int]]:
    """One entry for each vector: texts, or lists of token ids. Raises BadInput when empty, mixed or too many."""
    if isinstance(given, str):
        given = [given]
    elif given and all(isinstance(item, int) for item in given):
        given = [given]  # type: ignore[list-item]  # one input written as its token ids
    if not given or any(item == "" or item == [] for item in given):
        raise BadInput("`input` must not be empty.", param="input")
    if len(given) > MOST_INPUTS:
        raise BadInput(f"`input` has more than {MOST_INPUTS} entries.", param="input")
    if all(isinstance(item, str) for item in given) or all(isinstance(item, list) for item in given):
        return given  # type: ignore[return-value]  # just checked to be all of one kind
    raise BadInput(
        "`input` is text, a list of texts, token ids, or a list of lists of token ids.",
        param="input",
    )


def embeddings_body(embeddings: Embeddings, model: str, *, as_base64: bool) -> bytes:
    """The answer's JSON."""
    tokens = embeddings.usage.prompt_tokens
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": vector_base64(vector) if as_base64 else _numbers(vector),
                }
                for index, vector in enumerate(embeddings.vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def vector_base64(vector: Sequence[float]) -> str:
    """A vector as base64 of its little-endian float32 bytes."""
    numbers = vector if isinstance(vector, array) and vector.typecode == "f" else array("f", vector)
    if sys.byteorder == "big":
        numbers = array("f", numbers)
        numbers.byteswap()
    return base64.b64encode(numbers).decode("ascii")


def _numbers(vector: Any) -> list[float]:
    to_list = getattr(vector, "tolist", None)
    return to_list() if to_list is not None else list(vector)
