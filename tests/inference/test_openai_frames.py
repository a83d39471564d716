"""Events, answers, vectors and errors of engines, decoded."""

import base64
import struct
from typing import Any

import orjson
import pytest

from inference.openai_frames import FrameReader, read_completion, read_embeddings, read_refusal
from inference.types import TokenUsage
from kernel.errors import EngineRefused, EngineUnavailable, UpstreamFailed


def event(text: str = "", reason: str | None = None, model: str = "served", **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return orjson.dumps({"id": "1", "model": model, "choices": [choice], **more})


def test_frames_pass_unchanged_when_the_names_are_equal() -> None:
    frames = [event("a"), event("b")]
    chunk = FrameReader("served").read(list(frames))
    assert chunk is not None
    assert (chunk.frames, chunk.text, chunk.tokens) == (frames, "ab", 2)


@pytest.mark.parametrize("spaced", [False, True])
def test_the_models_name_is_exchanged_and_nothing_else(spaced: bool) -> None:
    raw = event('say "model":"served" twice')
    if spaced:
        raw = raw.replace(b'"model":"served"', b'"model": "served"')
    chunk = FrameReader("org/public").read([raw])
    assert chunk is not None
    answer = orjson.loads(chunk.frames[0])
    assert answer["model"] == "org/public"
    assert answer["choices"][0]["delta"]["content"] == 'say "model":"served" twice'


def test_the_name_is_exchanged_when_the_engine_changes_it_midway() -> None:
    reader = FrameReader("public")
    reader.read([event("a", model="one")])
    chunk = reader.read([event("b", model="two")])
    assert chunk is not None
    assert orjson.loads(chunk.frames[0])["model"] == "public"


def test_usage_only_events_are_left_out_and_told() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    last = orjson.dumps({"model": "served", "choices": [], "usage": usage})
    reader = FrameReader("served")
    chunk = reader.read([event("a"), event("", "stop"), last, b"[DONE]"])
    assert chunk is not None
    assert len(chunk.frames) == 2
    assert chunk.usage is not None
    assert (chunk.usage.prompt_tokens, chunk.usage.completion_tokens, chunk.usage.cached_tokens) == (9, 2, 4)
    assert chunk.finish_reason == "stop"
    assert reader.done


def test_the_role_alone_is_kept_back_until_the_first_token() -> None:
    reader = FrameReader("served")
    role = event("")
    assert reader.read([role]) is None
    assert not reader.begun
    chunk = reader.read([event("a")])
    assert chunk is not None
    assert chunk.frames == [role, event("a")]


def counted(text: str, made: int, **more: Any) -> bytes:
    return event(
        text, usage={"prompt_tokens": 9, "total_tokens": 9 + made, "completion_tokens": made}, **more
    )


def test_counts_of_the_engine_are_taken_and_left_out() -> None:
    reader = FrameReader("served", counted=True, shown=False)
    assert reader.read([counted("", 0)]) is None
    first = reader.read([counted("one two", 2)])
    assert first is not None
    assert (first.tokens, first.prompt_tokens) == (2, 9)
    assert first.frames == [event(""), event("one two")]
    # A token that is no whole character yet says nothing, and is counted with the next.
    second = reader.read([counted("", 3), counted(' three,"usage":{', 5)])
    assert second is not None
    assert (second.tokens, reader.tokens) == (3, 5)
    assert second.frames[1] == event(' three,"usage":{')
    assert second.usage is None
    last = reader.read([counted(" six", 6, reason="stop")])
    assert last is not None
    assert last.usage == TokenUsage(9, 6)


def test_counts_are_left_out_wherever_they_stand_in_an_event() -> None:
    details = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    raw = orjson.dumps({"usage": details, **orjson.loads(event("a"))})
    nested = event("a", usage=details)
    for each in (raw, nested, counted("a", 1, system_fingerprint="x")):
        chunk = FrameReader("served", counted=True, shown=False).read([each])
        assert chunk is not None
        assert "usage" not in orjson.loads(chunk.frames[0])
        assert orjson.loads(chunk.frames[0])["choices"] == orjson.loads(event("a"))["choices"]


def test_reasoning_and_tool_calls_are_tokens_but_not_text() -> None:
    def delta(**fields: Any) -> bytes:
        return orjson.dumps({"model": "served", "choices": [{"index": 0, "delta": fields}]})

    calls = delta(tool_calls=[{"index": 0, "function": {"arguments": "{"}}])
    chunk = FrameReader("served").read([delta(reasoning_content="hm"), calls])
    assert chunk is not None
    assert (chunk.tokens, chunk.text) == (2, "")


def test_an_abort_before_the_first_token_means_another_replica() -> None:
    with pytest.raises(EngineUnavailable):
        FrameReader("served").read([event(""), event("", "abort")])


def test_an_abort_after_tokens_is_a_failure_and_no_end() -> None:
    reader = FrameReader("served")
    reader.read([event("a")])
    with pytest.raises(UpstreamFailed) as caught:
        reader.read([event("", "abort")])
    assert not isinstance(caught.value, EngineUnavailable)


@pytest.mark.parametrize("raw", [b"{not json", b"[]", b'"text"', b'{"choices": 3}', b"\xff\xfe", b""])
def test_rubbish_is_a_failure(raw: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        FrameReader("served").read([raw])
    with pytest.raises(UpstreamFailed):
        read_completion(raw, "served")
    with pytest.raises(UpstreamFailed):
        read_embeddings(raw, 1)


def test_a_reported_error_ends_the_stream_by_its_code() -> None:
    with pytest.raises(EngineRefused) as caught:
        FrameReader("served").read([b'{"error": {"message": "too long", "code": 400}}'])
    assert caught.value.engine_status == 400
    with pytest.raises(UpstreamFailed, match="reported an error"):
        FrameReader("served").read([b'{"error": {"message": "secret path /srv/x", "code": 500}}'])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"error": {"message": "no", "type": "x", "param": "n", "code": 400}}', "no"),
        (b'{"object": "error", "message": "no", "code": 400}', "no"),
        (b'{"detail": "no"}', "no"),
        (b"<html>", "The engine refused the request."),
        (b"", "The engine refused the request."),
    ],
)
def test_refusals_in_every_shape(raw: bytes, message: str) -> None:
    error = read_refusal(raw, 422)
    assert (error.message, error.engine_status) == (message, 422)


def test_a_prompt_that_is_too_long_has_the_code_that_clients_know() -> None:
    raw = b'{"error": {"message": "This model\'s maximum context length is 1024 tokens.", "code": 400}}'
    assert read_refusal(raw, 400).code == "context_length_exceeded"


def test_a_whole_answer() -> None:
    message = {"role": "assistant", "content": "hello"}
    raw = orjson.dumps(
        {
            "id": "1",
            "model": "served",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        }
    )
    completion = read_completion(raw, "public")
    assert orjson.loads(completion.body)["model"] == "public"
    assert (completion.text, completion.finish_reason, completion.usage.prompt_tokens) == ("hello", "stop", 3)
    assert read_completion(raw, "served").body is raw


def test_a_whole_answer_that_was_aborted() -> None:
    def aborted(text: str) -> bytes:
        choice = {"index": 0, "text": text, "finish_reason": "abort"}
        return orjson.dumps({"model": "m", "choices": [choice]})

    with pytest.raises(EngineUnavailable):
        read_completion(aborted(""), "m")
    with pytest.raises(UpstreamFailed, match="middle"):
        read_completion(aborted("some"), "m")


def vectors(*rows: Any) -> bytes:
    data = [{"index": index, "embedding": row} for index, row in enumerate(rows)]
    return orjson.dumps({"data": list(reversed(data)), "usage": {"prompt_tokens": 5, "total_tokens": 5}})


def test_vectors_as_numbers_and_as_base64_are_the_same() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()
    numbers, coded = read_embeddings(vectors([0.5, -1.0]), 1), read_embeddings(vectors(packed), 1)
    assert list(numbers.vectors[0]) == list(coded.vectors[0]) == [0.5, -1.0]
    assert numbers.usage.prompt_tokens == 5


def test_vectors_come_in_the_order_of_their_inputs() -> None:
    assert [list(row) for row in read_embeddings(vectors([1.0], [2.0], [3.0]), 3).vectors] == [
        [1.0],
        [2.0],
        [3.0],
    ]


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (vectors([1.0]), 2),
        (vectors([1.0], [1.0, 2.0]), 2),
        (vectors([]), 1),
        (vectors("not base64!"), 1),
        (vectors("AAA="), 1),
        (vectors([1e300]), 1),
        (vectors(base64.b64encode(struct.pack("<f", float("nan"))).decode()), 1),
    ],
)
def test_vectors_that_are_wrong(raw: bytes, count: int) -> None:
    with pytest.raises(UpstreamFailed):
        read_embeddings(raw, count)
