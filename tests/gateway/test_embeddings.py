"""`/v1/embeddings` over fakes: the shapes of input, numbers and base64."""

import base64
import struct
from array import array
from typing import Any

import pytest
from fakes.asgi import AsgiClient
from fakes.flows import FakeDoors

from gateway.embeddings import input_list, vector_base64
from gateway.front import Gateway
from kernel.errors import BadInput

PATH = "/v1/embeddings"


async def test_numbers_and_base64_say_the_same() -> None:
    fake = FakeDoors()
    client = AsgiClient(Gateway(fake.doors()))
    body = {"model": "m", "input": ["a", "b"], "dimensions": 2}
    numbers = (await client.post(PATH, body)).json()
    assert numbers["object"] == "list"
    assert [entry["embedding"] for entry in numbers["data"]] == [[0.5, -1.0], [0.25, 2.0]]
    assert [entry["index"] for entry in numbers["data"]] == [0, 1]
    assert numbers["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    packed = (await client.post(PATH, {**body, "encoding_format": "base64"})).json()
    decoded = [struct.unpack("<2f", base64.b64decode(entry["embedding"])) for entry in packed["data"]]
    assert decoded == [(0.5, -1.0), (0.25, 2.0)]
    assert fake.calls[1].body == {"model": "m", "input": ["a", "b"], "dimensions": 2}


@pytest.mark.parametrize(
    ("given", "taken"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_input_becomes_a_list(given: Any, taken: Any) -> None:
    assert input_list(given) == taken


@pytest.mark.parametrize("given", ["", [], ["a", ""], ["a", 1], [[1], "a"], [[]], ["a"] * 2049])
def test_input_that_cannot_be_embedded(given: Any) -> None:
    with pytest.raises(BadInput) as refused:
        input_list(given)
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    "body", [{"model": "m"}, {"input": "a"}, {"model": "m", "input": 3}, {"model": "m", "input": {}}]
)
async def test_bad_bodies(body: Any) -> None:
    answered = await AsgiClient(Gateway(FakeDoors().doors())).post(PATH, body)
    assert answered.status == 400


def test_base64_takes_any_sequence_of_floats() -> None:
    assert vector_base64(array("f", [1.5])) == vector_base64([1.5]) == vector_base64(array("d", [1.5]))
