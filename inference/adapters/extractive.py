"""`engine.extractive`: answers by quoting the passages it is given. It says what it is, and never invents."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from inference.extraction import answer_text
from inference.types import (
    Chunk,
    Completion,
    Embeddings,
    EngineRequest,
    ReplicaLoad,
    ReplicaSpec,
    Surface,
    TokenUsage,
)
from kernel.errors import EngineRefused

# Words that one event carries.
GROUP = 4
CHARS_PER_TOKEN = 4


class ExtractiveEngine:
    """In this process; stateless. Frames and bodies have OpenAI's shape."""

    async def complete(self, replica: ReplicaSpec, request: EngineRequest) -> Completion:
        """The whole answer."""
        text = _answer(request)
        usage = _usage(request, text)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
        chat = request.surface is Surface.CHAT
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        body = _head(replica, request, "chat.completion" if chat else "text_completion")
        body["choices"] = [choice]
        body["usage"] = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
        return Completion(orjson.dumps(body), text, usage, "stop")

    async def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """The answer in groups of words; other work of the loop goes on between them."""
        text = _answer(request)
        chat = request.surface is Surface.CHAT
        head = _head(replica, request, "chat.completion.chunk" if chat else "text_completion")
        frames: list[bytes] = []
        if chat:
            frames.append(_frame(head, {"delta": {"role": "assistant", "content": ""}}))
        for group in _groups(text):
            frames.append(_frame(head, {"delta": {"content": group}} if chat else {"text": group}))
            yield Chunk(frames, text=group, tokens=max(1, len(group) // CHARS_PER_TOKEN))
            frames = []
            await asyncio.sleep(0)
        end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        yield Chunk([_frame(head, end, "stop")], usage=_usage(request, text), finish_reason="stop")

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """It makes no vectors. Raises EngineRefused."""
        raise EngineRefused("The extractive engine makes no embeddings.")

    async def health(self, replica: ReplicaSpec) -> None:
        """As healthy as this process."""

    async def load(self, replica: ReplicaSpec) -> ReplicaLoad:
        """Nothing ever waits in it."""
        return ReplicaLoad(running=0, waiting=0, kv_usage=0.0)


def _answer(request: EngineRequest) -> str:
    return answer_text(request.question or _last_question(request.body), request.passages)


def _last_question(body: Mapping[str, Any]) -> str:
    """The text of the last user message, or of the prompt, for calls without structured context."""
    for message in reversed(body.get("messages") or []):
        if isinstance(message, Mapping) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))
    prompt = body.get("prompt")
    return prompt if isinstance(prompt, str) else ""


def _groups(text: str) -> list[str]:
    """The text in pieces of a few words; joined they are the text."""
    words = text.split(" ")
    pieces = [" ".join(words[start : start + GROUP]) for start in range(0, len(words), GROUP)]
    return [piece + " " for piece in pieces[:-1]] + pieces[-1:]


def _head(replica: ReplicaSpec, request: EngineRequest, kind: str) -> dict[str, Any]:
    prefix = "chatcmpl" if request.surface is Surface.CHAT else "cmpl"
    return {
        "id": f"{prefix}-{request.request_id}",
        "object": kind,
        "created": int(time.time()),
        "model": replica.model,
    }


def _frame(head: Mapping[str, Any], content: Mapping[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, **content, "logprobs": None, "finish_reason": reason}
    return orjson.dumps({**head, "choices": [choice]})


def _usage(request: EngineRequest, text: str) -> TokenUsage:
    """Estimates: what was read (question and passages) and what was said, four characters a token."""
    question = request.question or _last_question(request.body)
    read = len(question) + sum(len(passage.text) + len(passage.title) for passage in request.passages)
    return TokenUsage(-(-read // CHARS_PER_TOKEN), max(1, -(-len(text) // CHARS_PER_TOKEN)), estimated=True)
