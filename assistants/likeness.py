"""Whether two questions that look alike may have the same answer. Pure.

Vectors of sentences hardly see what turns an answer round: a "not", another year, another name, "when" in place of
"where". So a likeness by vectors is believed only where the words do not speak against it. The rules are cheap and lean
to the safe side: a question that is refused here costs a new answer, one that is let through wrongly a false one. They
know English and German; what they buy is measured in `docs/benchmarks/semantic-cache.md`.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

# What this file compares by, as part of what entries are kept under.
FORM = 1

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\W_]+")
# "isn't", "cannot"
_CONTRACTED = re.compile(r"n't\b|(?<=\bcan)not\b", re.IGNORECASE)
_ENDS = " \t\n.?!…;:,"
_LETTERS_OF_A_STEM = 4
# Two questions that are the same but for so many words ask for something else in that place.
_WIDEST_SLOT = 2


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBERS = {
    word: str(value)
    for value, words in enumerate(
        (
            "zero null", "eins", "two zwei", "three drei", "four vier", "five fünf", "six sechs", "seven sieben",
            "eight acht", "nine neun", "ten zehn", "eleven elf", "twelve zwölf",
        )
    )
    for word in words.split()
}  # fmt: skip
_ORDINALS = {
    word: f"{value}."
    for value, words in enumerate(
        (
            "first erste ersten erster erstes", "second zweite zweiten zweiter zweites",
            "third dritte dritten dritter drittes", "last letzte letzten letzter letztes",
        ),
        1,
    )
    for word in words.split()
}  # fmt: skip
_NEGATIONS = _set(
    "not no never without none nobody nothing neither nor cannot except unless nicht kein keine keinen keinem keiner "
    "keines nie niemals ohne nichts niemand weder außer"
)
# Words of which one turns the other round.
_OPPOSITES = tuple(
    (frozenset(one.split()), frozenset(other.split()))
    for one, other in (
        ("before vor vorher", "after nach nachher"),
        ("more mehr", "less fewer weniger"),
        ("most meisten", "least fewest wenigsten"),
        ("minimum min smallest lowest mindestens", "maximum max largest biggest highest höchstens"),
        ("increase increased raise erhöhen", "decrease decreased reduce lower senken verringern"),
        ("enable activate enabled aktivieren einschalten", "disable deactivate disabled deaktivieren ausschalten"),
        ("start begin started began open starten beginnen öffnen", "stop end stopped ended close beenden schließen"),
        ("allow allowed permitted erlaubt", "forbid forbidden prohibited deny verboten"),
        ("buy bought kaufen", "sell sold verkaufen"),
        ("add hinzufügen", "remove delete entfernen löschen"),
        ("win won gewann gewonnen", "lose lost verlor verloren"),
        ("in inside innerhalb", "out outside außerhalb"),
        ("old older oldest alt älter", "new newer newest young neu neuer jünger"),
        ("first erste", "last letzte"),
        ("incoming eingehend", "outgoing ausgehend"),
        ("with mit", "without ohne"),
        ("north nord", "south süd"),
        ("east ost", "west"),
        ("internal intern", "external extern"),
    )
)  # fmt: skip
# What is asked for; `what`, `which` and a bare `how` may stand for any of them.
_ASKED = {
    "who": "who whom whose wer wem wen wessen",
    "when": "when wann",
    "where": "where wo wohin woher",
    "why": "why warum weshalb wieso",
}
_ASKED_BY_WORD = {word: kind for kind, words in _ASKED.items() for word in words.split()}
_MEASURES = {
    word: f"how {word}"
    for word in _set("many much long often old far big large fast high deep viel viele lange oft weit")
}
_SLIGHT = _set(
    "a an the is are was were be been do does did have has had get got can could would will shall should may might "
    "must i me my we us our you your he she it its they their his her this that these those of in on at to for from "
    "by with and or as about into there please tell know explain hi hello thanks what which how who whom whose when "
    "where why der die das den dem des ein eine einen einem einer eines ist sind war waren sein bin hat haben habe "
    "hatte kann können könnte könntest würde werden wird soll sollte darf muss ich mir mich mein meine meinen wir uns "
    "unser du dein sie ihr ihre ihren es er von zu zum zur im am an auf für aus bei mit und oder als über bitte sag "
    "sagen erklären hallo danke welche welcher welches welchen was wie wer wo wann warum"
)


class _Said(NamedTuple):
    """What a question says, as far as it is compared."""

    words: tuple[str, ...]
    numbers: tuple[str, ...]
    negations: int
    names: frozenset[str]
    asked: frozenset[str]


def normal_form(question: str) -> str:
    """The question without what never changes an answer: case, white space, marks at its end."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split()).strip(_ENDS)


def may_share_an_answer(one: str, other: str) -> bool:
    """Whether nothing in the words of two questions says that their answers differ."""
    first, second = _said(one), _said(other)
    return (
        first.numbers == second.numbers
        and first.negations == second.negations
        and not (first.asked and second.asked and first.asked != second.asked)
        and _named_in(first.names, second.words)
        and _named_in(second.names, first.words)
        and not _turned(first.words, second.words)
        and not _differ_in_a_slot(first.words, second.words)
    )


def _said(question: str) -> _Said:
    text = unicodedata.normalize("NFKC", question).replace("’", "'")
    found = _WORD.findall(_CONTRACTED.sub(" not", text))
    words = tuple(_NUMBERS.get(word, word) for word in map(str.casefold, found))
    negations = sum(word in _NEGATIONS for word in words)
    numbers = [_number(word) for word in words]
    names = frozenset(
        folded
        for at, (word, folded) in enumerate(zip(found, words, strict=True))
        if folded not in _SLIGHT
        and ((at and word[0].isupper()) or (len(word) > 1 and word.isupper()) or _is_code(word))
    )
    return _Said(words, tuple(sorted(filter(None, numbers))), negations, names, _asked(words))


def _number(word: str) -> str:
    if word[0].isdigit():
        return word.replace(",", "").rstrip(".")
    return _ORDINALS.get(word, "")


def _is_code(word: str) -> bool:
    """Letters and digits mixed, as in `A4` or `utf8`."""
    return any(map(str.isdigit, word)) and any(map(str.isalpha, word))


def _asked(words: Sequence[str]) -> frozenset[str]:
    found = {_ASKED_BY_WORD[word] for word in words if word in _ASKED_BY_WORD}
    for how, measure in pairwise(words):
        if how in ("how", "wie") and measure in _MEASURES:
            found.add(_MEASURES[measure])
    return frozenset(found)


def _named_in(names: frozenset[str], words: Sequence[str]) -> bool:
    return all(any(_akin(name, word) for word in words) for name in names)


def _akin(one: str, other: str) -> bool:
    """The same word, or one with an ending: `Norman` and `Normans`."""
    short, long = sorted((one, other), key=len)
    return one == other or (len(short) >= _LETTERS_OF_A_STEM and long.startswith(short))


def _turned(one: Sequence[str], other: Sequence[str]) -> bool:
    first, second = frozenset(one), frozenset(other)
    for left, right in _OPPOSITES:
        a = bool(first & left), bool(first & right)
        b = bool(second & left), bool(second & right)
        # Each says one of the two, and not the same.
        if a in ((True, False), (False, True)) and b == a[::-1]:
            return True
    return False


def _differ_in_a_slot(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the two are the same words but in one place, where each has others that matter."""
    at = 0
    while at < min(len(one), len(other)) and one[at] == other[at]:
        at += 1
    end = 0
    while end < min(len(one), len(other)) - at and one[-1 - end] == other[-1 - end]:
        end += 1
    left = [word for word in one[at : len(one) - end] if word not in _SLIGHT]
    right = [word for word in other[at : len(other) - end] if word not in _SLIGHT]
    if not 0 < len(left) <= _WIDEST_SLOT or not 0 < len(right) <= _WIDEST_SLOT:
        return False
    return not any(_akin(a, b) for a in left for b in right)
