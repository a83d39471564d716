"""`/v1/completions` over fakes: every shape of a prompt, whole and streamed."""

from typing import Any

import pytest
from fakes.asgi import AsgiClient
from fakes.flows import FakeDoors

from gateway.front import Gateway
from inference.types import Surface

PATH = "/v1/completions"


@pytest.mark.parametrize(
    ("prompt", "chars"),
    [("Once upon", 9), (["a", "bc"], 3), ([1, 2, 3], 12), ([[1], [2, 3]], 12)],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_shape_of_a_prompt(prompt: Any, chars: int, stream: bool) -> None:
    fake = FakeDoors()
    answered = await AsgiClient(Gateway(fake.doors())).post(
        PATH, {"model": "m", "prompt": prompt, "stream": stream, "max_tokens": 5, "echo": True}
    )
    assert answered.status == 200
    [call] = fake.calls
    assert (call.surface, call.prompt_chars, call.max_tokens, call.stream) == (
        Surface.COMPLETIONS,
        chars,
        5,
        stream,
    )
    assert call.body["prompt"] == prompt
    assert call.body["echo"] is True
    if stream:
        assert answered.events()[-1] == "[DONE]"


@pytest.mark.parametrize("body", [{"model": "m"}, {"model": "m", "prompt": 3}, {"model": "m", "prompt": {}}])
async def test_bad_prompts(body: Any) -> None:
    answered = await AsgiClient(Gateway(FakeDoors().doors())).post(PATH, body)
    assert answered.status == 400
    assert answered.json()["error"]["param"] == "prompt"
