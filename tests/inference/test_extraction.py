"""The extractive engine quotes what speaks of the question, says what it is, and admits when there is nothing."""

import uuid
from collections.abc import Sequence

import orjson
import pytest
from fakes.engines import replica_spec

from inference.adapters.extractive import ExtractiveEngine
from inference.extraction import answer_text, best_quotes, is_german, sentences_of
from inference.types import ContextPassage, EngineRequest, Surface
from kernel.errors import EngineRefused

PASSAGES = (
    ContextPassage(
        1,
        "Holiday policy",
        "Every employee has 30 days of paid leave. Unused leave expires at the end of March. Ask your lead first.",
        0.9,
    ),
    ContextPassage(
        2, "Travel", "Trains are booked in second class. Hotels may cost up to 120 euros a night.", 0.5
    ),
    ContextPassage(3, "Urlaub", "Der Urlaubsantrag muss zwei Wochen vorher gestellt werden.", 0.4),
)


@pytest.mark.parametrize(
    ("question", "index", "holds"),
    [
        ("How many days of paid leave do employees have?", 1, "30 days of paid leave"),
        ("When does unused leave expire?", 1, "expires at the end of March"),
        ("What may a hotel cost per night?", 2, "120 euros"),
        ("Wann muss der Urlaubsantrag gestellt werden?", 3, "zwei Wochen"),
    ],
)
def test_the_best_sentence_comes_first(question: str, index: int, holds: str) -> None:
    first = best_quotes(question, PASSAGES)[0]
    assert first.index == index
    assert holds in first.text


def test_an_answer_is_labelled_and_cited() -> None:
    text = answer_text("How many days of paid leave do employees have?", PASSAGES)
    assert "not a language model" in text.splitlines()[0]
    assert "> Every employee has 30 days of paid leave. [1]" in text


def test_a_german_question_gets_a_german_frame() -> None:
    assert "kein Sprachmodell" in answer_text("Wann muss der Urlaubsantrag gestellt werden?", PASSAGES)
    assert "nichts gefunden" in answer_text("Wie hoch ist der Eiffelturm?", PASSAGES)
    assert not is_german("How tall is the tower?")
    assert not is_german("Which function decodes a DER encoded structure?")
    assert is_german("WIE HOCH IST DER TURM?")


@pytest.mark.parametrize("question", ["Who painted the ceiling of the chapel?", "", "?!", "the of and"])
def test_nothing_found_is_said_honestly(question: str) -> None:
    text = answer_text(question, PASSAGES)
    assert "found nothing" in text
    assert ">" not in text
    assert "[1]" not in text


def test_without_passages_it_says_what_it_is() -> None:
    assert "only quote" in answer_text("Write me a poem", ())


def test_sentences_of_lists_and_tables_stand_alone() -> None:
    text = (
        "Rules:\n- Bring a badge. Always.\n- Lock the door\n| Room | Floor |\nVersion 1.2 is out. See p. 3."
    )
    assert sentences_of(text)[:3] == ["Rules:", "- Bring a badge.", "Always."]
    assert "- Lock the door" in sentences_of(text)


def request(
    surface: Surface = Surface.CHAT, question: str = "", passages: Sequence[ContextPassage] = PASSAGES
) -> EngineRequest:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hotel cost per night?"}]}]}
    if surface is Surface.COMPLETIONS:
        body = {"prompt": "hotel cost per night?"}  # type: ignore[dict-item]
    return EngineRequest(surface, body, uuid.UUID(int=1), "abc", question=question, passages=tuple(passages))


@pytest.mark.parametrize("surface", [Surface.CHAT, Surface.COMPLETIONS])
async def test_stream_and_whole_answer_say_the_same(surface: Surface) -> None:
    engine, replica = ExtractiveEngine(), replica_spec(model="atrium-extractive")
    whole = await engine.complete(replica, request(surface))
    chunks = [chunk async for chunk in engine.stream(replica, request(surface))]
    assert "120 euros" in whole.text
    assert "".join(chunk.text for chunk in chunks) == whole.text
    body = orjson.loads(whole.body)
    choice = body["choices"][0]
    assert (choice["message"]["content"] if surface is Surface.CHAT else choice["text"]) == whole.text
    assert body["usage"]["completion_tokens"] == whole.usage.completion_tokens > 0
    assert body["model"] == "atrium-extractive"
    frames = [orjson.loads(frame) for chunk in chunks for frame in chunk.frames]
    said = [
        frame["choices"][0]["delta"].get("content", "")
        if surface is Surface.CHAT
        else frame["choices"][0]["text"]
        for frame in frames
    ]
    assert "".join(said) == whole.text
    assert frames[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1].usage == whole.usage
    assert whole.usage.estimated


async def test_it_makes_no_vectors() -> None:
    with pytest.raises(EngineRefused):
        await ExtractiveEngine().embed(replica_spec(), request())
