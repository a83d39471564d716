"""Whether the words of two alike questions say that their answers differ."""

import pytest

from assistants.likeness import may_share_an_answer, normal_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many days of leave do I have?", "how many days of leave do i have"),
        ("When was the castle built?", "Can you tell me when the castle was built?"),
        ("Who led the Normans in 1066?", "Tell me, who was it that led the Normans in 1066?"),
        ("What does the guarantee cover?", "what is it that the guarantee covers"),
        ("Can you tell me how you bill me?", "How do you bill me?"),
        ("How do I convert USD to EUR?", "How to convert USD to EUR?"),
        ("What's the manager's limit?", "What is the manager's limit?"),
        ("Do I get 1,500 € a year?", "Do I get 1500 € a year, please?"),
        ("Is the e-mail (work) kept?", "Is the e-mail, work, kept?"),
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
    ("one", "other"),
    [
        ("How do I convert USD to EUR?", "How do I convert EUR to USD?"),
        ("How do I convert from USD to EUR?", "How do I convert to USD from EUR?"),
        ("Does the landlord pay the tenant?", "Does the tenant pay the landlord?"),
        ("Does the landlord inform the tenant?", "Is the landlord informed by the tenant?"),
        ("How do I switch from Basic to Pro?", "How do I switch from Pro to Basic?"),
        ("How do I switch to Pro?", "How do I switch from Pro?"),
        (
            "May employees approve their managers' expenses?",
            "May managers approve their employees' expenses?",
        ),
        ("Who pays the employee's manager?", "Who pays the employee of the manager?"),
        ("Do I owe you money?", "Do you owe me money?"),
        ("Can I end my contract?", "Can you end my contract?"),
        ("Zahlt der Vermieter dem Mieter etwas?", "Zahlt dem Vermieter der Mieter etwas?"),
        ("Zahlt der Vermieter dem Mieter etwas?", "Zahlt der Mieter dem Vermieter etwas?"),
        (
            "Who was beaten first, Spain or Italy, by France?",
            "Who was beaten first, France or Italy, by Spain?",
        ),
        ("How many go from 5 to 10 and to 5?", "How many go from 10 to 5 and to 5?"),
    ],
)
def test_who_does_it_to_whom_and_which_way_is_heard(one: str, other: str) -> None:
    assert not may_share_an_answer(one, other)
    assert not may_share_an_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("May it be stored at -20 °C?", "May it be stored at 20 °C?"),
        ("May it be stored at −20 °C?", "May it be stored at 20 °C, please?"),
        ("Is it 20 °C outside?", "Is it 20 °F outside?"),
        ("What is 5 + 3?", "What is 5 - 3?"),
        ("What is 5 * 3?", "What is 5 / 3?"),
        ("Is a < b?", "Is a > b?"),
        ("Is a < b?", "Is b < a?"),
        ("What is (1 + 2) * 3?", "What is 1 + (2 * 3)?"),
        ("Is there a fee of 10 %?", "Is there a fee of 10?"),
        ("Is there a fee of 10 €?", "Is there a fee of 10 $?"),
        ("What is 10²?", "What is 102?"),
        ("What is 10²?", "What is 10?"),
        ("How large is a m²?", "How large is a m³?"),
        ("What is 5!?", "What is 5?"),
        ("What is n! for?", "What is n for?"),
        ("Do we use C++ here?", "Do we use C here?"),
        ("Do we use C#?", "Do we use C?"),
        ("Is .5 enough?", "Is 5 enough?"),
        ("Is 5' enough?", 'Is 5" enough?'),
        ("Sind 1,5 Tage genug dafür?", "Genügen dafür 15 Tage?"),
    ],
)
def test_signs_are_heard(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)
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
    assert normal_form("Why not 5?") == normal_form("why not 5")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10²", "102"), ("5!", "5"), ("5 !", "5"), ("Is it n!?", "Is it n?"), (".5", "5"), ("-5", "5"), ("5 %", "5"),
        ("In Maßen?", "In Massen?"), ("½", "1/2"),
    ],
)  # fmt: skip
def test_the_normal_form_keeps_what_bears_meaning(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)
