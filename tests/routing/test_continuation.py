"""What another replica is asked for the rest of an answer, and how the two parts are joined. Pure."""

from typing import Any

import orjson
import pytest
from fakes.engines import replica_spec

from inference.types import Chunk, Surface, TokenUsage
from routing.continuation import Seam, continuable, continuation, ending

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"n": 1, "response_format": {"type": "text"}, "tool_choice": "auto", "tools": [{}]}, True),
        ({"n": 2}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"guided_regex": "a+"}, False),
        ({"structured_outputs": {"json": {}}}, False),
        ({"logprobs": True}, False),
        ({"tool_choice": "required"}, False),
        ({"tool_choice": {"type": "function"}}, False),
        ({"echo": True}, False),
    ],
)
def test_what_has_more_state_than_its_text_is_not_continued(fields: dict[str, Any], expected: bool) -> None:
    assert continuable(Surface.CHAT, CHAT | fields, replica_spec()) is expected


def test_who_can_continue() -> None:
    assert not continuable(Surface.CHAT, CHAT, replica_spec(vllm=False))
    assert not continuable(Surface.CHAT, CHAT, replica_spec(url=""))
    assert not continuable(Surface.EMBEDDINGS, {"input": ["a"]}, replica_spec())
    assert continuable(Surface.COMPLETIONS, {"prompt": "once"}, replica_spec(vllm=False))
    assert not continuable(Surface.COMPLETIONS, {"prompt": ["once", "twice"]}, replica_spec())


def test_the_rest_is_asked_for_with_what_is_left_of_the_length() -> None:
    asked = continuation(Surface.CHAT, CHAT | {"max_tokens": 10, "min_tokens": 8}, "one two ", 3)
    assert asked == {
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "one two"}],
        "max_tokens": 7,
        "min_tokens": 5,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    assert len(CHAT["messages"]) == 1
    assert continuation(Surface.CHAT, CHAT | {"max_completion_tokens": 3}, "one two ", 3) is None
    assert continuation(Surface.CHAT, CHAT, " \n", 1) == CHAT
    assert continuation(Surface.COMPLETIONS, {"prompt": "once "}, "upon a ", 2) == {"prompt": "once upon a"}


def test_an_answer_that_was_given_its_beginning_keeps_it() -> None:
    given = {
        "messages": [{"role": "assistant", "content": "In"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    asked = continuation(Surface.CHAT, given, " the end", 2)
    assert asked is not None
    assert asked["messages"] == [{"role": "assistant", "content": "In the end"}]


def _chunk(text: str, **fields: Any) -> Chunk:
    event = {
        "id": "other",
        "created": 9,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return Chunk([orjson.dumps(event)], text=text, tokens=1, **fields)


@pytest.mark.parametrize("sent", ["one two", "one two ", "one two\n\n", "one two \t"])
@pytest.mark.parametrize("pieces", [["{gap}three", " four"], ["{gap}", "three four"], ["three", " four"]])
def test_no_character_is_lost_or_said_twice(sent: str, pieces: list[str]) -> None:
    gap = sent[len(sent.rstrip()) :]
    if not gap and pieces[0] == "three":
        pieces = [" three", " four"]
    seam = Seam(b'{"id":"mine","created":1}', sent, 2, 1)
    joined = [seam.join(_chunk(piece.format(gap=gap))) for piece in pieces if piece.format(gap=gap)]
    texts = [each.text for each in joined if each is not None]
    whole = sent + "".join(texts)
    expected = sent + ("three four" if gap or pieces[0].startswith("{") else " three four")
    assert whole == expected


def test_white_space_that_comes_in_pieces_is_dropped_piece_by_piece() -> None:
    seam = Seam(None, "a\n\n", 1, 1)
    assert seam.join(_chunk("\n")) is None
    second = seam.join(_chunk("\nb"))
    assert second is not None
    assert second.text == "b"
    third = seam.join(_chunk("\nc"))
    assert third is not None
    assert third.text == "\nc"


def test_the_parts_are_one_answer() -> None:
    seam = Seam(b'{"id":"mine","created":1}', "a b", 2, 1)
    role = Chunk(
        [orjson.dumps({"id": "other", "choices": [{"delta": {"role": "assistant", "content": ""}}]})]
    )
    assert seam.join(role) is None
    end = {"id": "other", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    last = seam.join(Chunk([orjson.dumps(end)], usage=TokenUsage(12, 5), finish_reason="stop"))
    assert last is not None
    event = orjson.loads(last.frames[0])
    assert (event["id"], event["created"], event["continued"]) == ("mine", 1, 1)
    assert last.usage == TokenUsage(10, 7, estimated=True)


def test_an_answer_that_was_long_enough_is_ended() -> None:
    chunk = ending(b'{"id":"mine","created":4}', "tiny", Surface.CHAT, 1)
    event = orjson.loads(chunk.frames[0])
    assert (event["id"], event["model"], event["continued"]) == ("mine", "tiny", 1)
    assert event["choices"][0]["finish_reason"] == chunk.finish_reason == "length"
