"""Whether the words of two alike questions say that their answers differ."""

import pytest

from assistants.likeness import may_share_an_answer, normal_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many days of leave do I have?", "how many days of leave do i have"),
        ("When was the castle built?", "Can you tell me when the castle was built?"),
        ("Who led the Normans in 1066?", "Tell me, who was it that led the Normans in 1066?"),
        ("What does the guarantee cover?", "what is covered by the guarantee"),
        ("Wie viel Urlaub habe ich?", "Wie viel Urlaub steht mir zu?"),
        ("Is there a limit of two days?", "Is there a limit of 2 days?"),
        ("Which year did it begin?", "When did it begin?"),
        ("It isn't allowed, is it?", "It is not allowed, is it?"),
        ("Why can't I log in?", "Why cannot I log in?"),
    ],
)
def test_what_is_said_otherwise_may_be_answered_alike(one: str, other: str) -> None:
    assert may_share_an_answer(one, other)
    assert may_share_an_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What changed in 2023?", "What changed in 2024?"),
        ("Are two days enough?", "Are three days enough?"),
        ("What is version 1.10 about?", "What is version 1.1 about?"),
        ("May I smoke here?", "May I not smoke here?"),
        ("Is it allowed?", "Isn't it allowed?"),
        ("Darf ich hier rauchen?", "Darf ich hier nicht rauchen?"),
        ("Do I get it with a receipt?", "Do I get it without a receipt?"),
        ("When was it founded?", "Where was it founded?"),
        ("How many people work there?", "How long do people work there?"),
        ("What does our contract with Siemens say?", "What does our contract with Bosch say?"),
        ("what does apple offer to students", "what does microsoft offer to students"),
        ("How do I reset my password?", "How do I reset my username?"),
        ("How do I enable the alarm in the hall?", "How can I disable the alarm of the hall?"),
        ("What was the first rule?", "What was the last rule?"),
        ("What is form A4 for?", "What is form A5 for?"),
        ("What must I do before the trip?", "And what is to be done after a trip?"),
    ],
)
def test_what_turns_an_answer_round_is_heard(one: str, other: str) -> None:
    assert not may_share_an_answer(one, other)
    assert not may_share_an_answer(other, one)


@pytest.mark.parametrize(
    "question", ["", "?", "\ud800", "١٢٣", "a" * 5000, "'", "\x00", "½ of it", "日本語の質問"]
)
def test_odd_questions_are_like_themselves(question: str) -> None:
    assert may_share_an_answer(question, question)


def test_the_normal_form_leaves_out_what_changes_no_answer() -> None:
    assert normal_form("  How LONG\n is it?! ") == "how long is it"
    assert normal_form("1 < 2") != normal_form("1 > 2")
    assert normal_form("?!") == ""
