"""The event parser gives the same events however the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.sse import EventParser, EventTooLong

# Data lines hold anything but line ends; the colon and the space are there to confuse.
LINE = st.text(alphabet=st.sampled_from(list('ab: {}"é世data')), max_size=12)
EVENT = st.lists(LINE, min_size=1, max_size=3)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """The events of a stream, and its bytes as some server may write them."""
    expected = []
    raw = ""
    for lines in draw(st.lists(EVENT, max_size=6)):
        end = draw(st.sampled_from(["\n", "\r\n"]))
        if draw(st.booleans()):
            raw += draw(st.sampled_from([": keep-alive", ":", "event: message", "id: 7", "retry: 10"])) + end
            if draw(st.booleans()):
                raw += end
        for line in lines:
            raw += draw(st.sampled_from(["data: ", "data:"])) if not line.startswith(" ") else "data: "
            raw += line + end
        raw += end
        expected.append("\n".join(lines).encode())
    return expected, raw.encode()


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(raw) + 1) for place in places}), len(raw)]
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


@given(streams(), st.lists(st.integers(min_value=0, max_value=10_000), max_size=12))
def test_any_cut_gives_the_same_events(stream: tuple[list[bytes], bytes], places: list[int]) -> None:
    expected, raw = stream
    parser = EventParser()
    found = [event for read in cut(raw, places) for event in parser.feed(read)]
    assert found == expected


@given(streams())
def test_byte_by_byte_gives_the_same_events(stream: tuple[list[bytes], bytes]) -> None:
    expected, raw = stream
    parser = EventParser()
    assert [event for byte in raw for event in parser.feed(bytes([byte]))] == expected


def test_the_usual_read_of_several_events() -> None:
    assert EventParser().feed(b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n") == [b"1", b"2", b"[DONE]"]


def test_lines_of_one_event_are_joined_even_when_it_looks_usual() -> None:
    assert EventParser().feed(b"data: 1\ndata: 2\n\n") == [b"1\n2"]


def test_an_event_cut_by_the_end_is_not_given() -> None:
    assert EventParser().feed(b"data: 1\n\ndata: 2\n") == [b"1"]


@pytest.mark.parametrize("read", [b"data: " + b"x" * 200, b"data: x\n" * 200, b"data: " + b"x" * 200 + b"\n"])
def test_an_event_has_a_bound(read: bytes) -> None:
    with pytest.raises(EventTooLong):
        EventParser(limit=100).feed(read)
