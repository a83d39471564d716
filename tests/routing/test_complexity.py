"""How hard a text looks: what asks and what is only material, kinds of work, and texts that nobody would expect."""

import json

import pytest

from routing.choice_types import Task
from routing.complexity import (
    FEATURES,
    STORED,
    Model,
    asked_part,
    features_of,
    load_model,
    question_text,
    task_of,
)

MATERIAL = "The harbour office wrote that berth seven stays closed until the crane is repaired. " * 40


@pytest.mark.parametrize(
    ("hard", "easy"),
    [
        ("Prove that there are infinitely many primes.", "Translate into French: see you on Monday."),
        ("Design a queue that survives a crash; discuss trade-offs.", "What is the capital of Peru?"),
        ("Vergleiche beide Verfahren und begründe deine Empfehlung.", "Wann fährt der nächste Zug?"),
        (f"Argue both sides of this contract, step by step.\n\n{MATERIAL}", f"Summarise:\n\n{MATERIAL}"),
        (f"{MATERIAL}\n\nWhy would a critic reject this? Analyse.", f"{MATERIAL}\n\nWhich berth is it?"),
    ],
)
def test_reasoning_scores_above_looking_up(hard: str, easy: str) -> None:
    model = load_model()
    assert model.score(hard) > model.score(easy) + 0.1


def test_material_is_not_what_asks() -> None:
    assert asked_part("short") == "short"
    assert asked_part(f"Summarise:\n\n{MATERIAL}") == "Summarise:"
    assert asked_part(f"{MATERIAL}\n\nWhich berth?") == "Which berth?"
    one_block = "word " * 1_000
    assert 0 < len(asked_part(one_block)) < 400


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "?" * 10_000, "漢字" * 500, "\x00", "a" * 1_000_000, "1" * 9_000]
)
def test_any_text_has_a_score(text: str) -> None:
    found = features_of(text)
    assert len(found) == len(FEATURES)
    assert all(0 <= each <= 2 for each in found)
    assert 0 <= load_model().score(text) <= 1


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Translate this function into German", Task.TRANSLATION),
        ("Fasse den Brief bitte kurz zusammen", Task.SUMMARY),
        ("Extract the dates from it", Task.EXTRACTION),
        ("Berechne die Wahrscheinlichkeit", Task.MATH),
        ("Refactor this: ```x```", Task.CODE),
        ("Write a letter to the landlord", Task.WRITING),
        ("Wer hat das gesagt", Task.QUESTION),
        ("Is it?", Task.QUESTION),
        ("Well then.", Task.OTHER),
    ],
)
def test_kinds_of_work(text: str, task: Task) -> None:
    assert task_of(text) is task


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "c"}], "c"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}], "a"),
        ([{"role": "system", "content": "a"}], ""),
        ([{"role": "user", "content": None}], ""),
        (["a", 7, None], ""),
        ("a", ""),
        (None, ""),
    ],
)
def test_what_is_asked(messages: object, text: str) -> None:
    assert question_text("", messages) == text
    assert question_text("the question", messages) == "the question"


def test_weights_of_other_features_are_refused() -> None:
    stored = json.loads(STORED.read_text())
    assert list(stored["quantiles"]) == sorted(stored["quantiles"])
    del stored["weights"]["length"]
    with pytest.raises(ValueError, match="other features"):
        Model(stored)
