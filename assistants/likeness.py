"""Whether two questions that look alike may have the same answer. Pure.

Vectors of sentences hardly see what turns an answer round: a "not", another year, another name, "when" in place of
"where", who does it to whom, a minus. So a likeness by vectors is believed only where the words do not speak against it. The rules are cheap and lean
to the safe side: a question that is refused here costs a new answer, one that is let through wrongly a false one. They
know English and German; what they buy is measured in `docs/benchmarks/semantic-cache.md`.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

# What this file compares by, as part of what entries are kept under.
FORM = 2

# Numbers, words, and single signs; an underscore only parts words.
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[^\W_]+|[^\w\s]")
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")
_POSSESSIVE = re.compile(r"(?<=\w)'s?(?!\w)", re.IGNORECASE)
# "isn't", "cannot"
_CONTRACTED = re.compile(r"n't\b|(?<=\bcan)not\b", re.IGNORECASE)
_ENDS = " \t\n.?!…;:,"
# Behind a digit or a letter that stands alone it is a factorial.
_FACTORIAL = re.compile(r"(?:\d|(?<!\w)[^\W\d_])\s*(!+)[\s.?…;:,]*$")
_LETTERS_OF_A_STEM = 4
# So many characters before a mark say what it is.
_NEAR = 24
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
# Who is spoken of, in whatever case.
_PERSONS = {
    word: words.split()[0]
    for words in (
        "i me my mine ich mir mich mein meine meinen meinem meiner", "you your yours du dir dich dein deine deinen",
        "we us our ours uns unser unsere unseren", "he him his er ihm", "she her hers", "they them their theirs",
    )
    for word in words.split()
}  # fmt: skip
# Slight words that say what is done to whom, or which way: German articles by their case.
_PLACING = _set(
    "from to by for into onto than on off in out over under up down with von vom nach zu zum zur durch für als an auf "
    "aus bei mit der die das den dem des ein eine einen einem einer eines"
)
_AGENTS = _set("by von vom durch")
_CONTRACTED_IS = _set("it that what who where when how there here he she let")
_OPERATORS = _set("+ - * / ^ = < > × · ÷ ≤ ≥")
# Signs that Unicode holds for punctuation.
_MEANING = _set("% ‰ # & * / \\ @ §")
_DASHES = _set("- ‐ ‑ ‒ – — −")


class _Said(NamedTuple):
    """What a question says, as far as it is compared. `signs` are told with what stands before and after each."""

    words: tuple[str, ...]
    placed: tuple[str, ...]
    signs: tuple[tuple[str, str, str], ...]
    numbers: tuple[str, ...]
    negations: int
    agents: int
    possessives: int
    names: frozenset[str]
    asked: frozenset[str]


def normal_form(question: str) -> str:
    """The question without what never changes an answer: case, white space, marks at its end.

    Marks that are written as others (`10²`) stay what they are, and so does `ß`: `Maße` is no `Masse`.
    """
    text = " ".join(unicodedata.normalize("NFC", question).lower().split())
    factorial = _FACTORIAL.search(text)
    return text.rstrip(_ENDS) + (factorial[1] if factorial else "")


def may_share_an_answer(one: str, other: str) -> bool:
    """Whether nothing in the words of two questions says that their answers differ."""
    first, second = _said(one), _said(other)
    return (
        first.numbers == second.numbers
        and first.signs == second.signs
        and first.negations == second.negations
        and first.agents == second.agents
        and first.possessives == second.possessives
        and not (first.asked and second.asked and first.asked != second.asked)
        and _named_in(first.names, second.words)
        and _named_in(second.names, first.words)
        and not _turned(first.words, second.words)
        and not _differ_in_a_slot(first.words, second.words)
        and _in_one_order(first.placed, second.placed)
    )


def _said(question: str) -> _Said:
    text = unicodedata.normalize("NFC", question).replace("’", "'")
    text, possessives = _without_possessives(_CONTRACTED.sub(" not", text))
    tokens = [
        told for match in _TOKEN.finditer(text) if (told := _sign(match) if _is_mark(match[0]) else match[0])
    ]
    found = [token for token in tokens if not _is_mark(token)]
    words = tuple(map(_told, found))
    numbers = [_number(word) for word in words]
    names = frozenset(
        folded
        for at, (word, folded) in enumerate(zip(found, words, strict=True))
        if folded not in _SLIGHT
        and ((at and word[0].isupper()) or (len(word) > 1 and word.isupper()) or _is_code(word))
    )
    return _Said(
        words=words,
        placed=tuple(
            _PERSONS.get(word, word)
            for word in words
            if word not in _SLIGHT or word in _PLACING or word in _PERSONS
        ),
        signs=_signs(tokens),
        numbers=tuple(sorted(filter(None, numbers))),
        negations=sum(word in _NEGATIONS for word in words),
        agents=sum(word in _AGENTS for word in words),
        possessives=possessives,
        names=names,
        asked=_asked(words),
    )


def _told(word: str) -> str:
    lower = word.lower()
    return _NUMBERS.get(lower, _THOUSANDS.sub("", lower))


def _without_possessives(text: str) -> tuple[str, int]:
    """The text without its `'s` and `s'`, and how many of them are no `is`."""
    count = 0
    parts, at = [], 0
    for match in _POSSESSIVE.finditer(text):
        near = text[max(at, match.start() - _NEAR) : match.start()]
        if near[-1:].isdigit():
            # Feet, or a quote's end.
            continue
        word = re.split(r"\W", near)[-1].lower()
        plural = len(match[0]) == 1
        if plural and not word.endswith(("s", "x", "z")):
            continue
        count += word not in _CONTRACTED_IS
        parts.append(text[at : match.start()])
        at = match.end()
    return "".join([*parts, text[at:]]), count


def _is_mark(token: str) -> bool:
    return not token[0].isalnum()


def _sign(match: re.Match[str]) -> str:
    """The mark, where it bears meaning: one of mathematics, of money, of a unit; nothing for mere punctuation."""
    mark, text = match[0], match.string
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    if mark in _DASHES:
        # Glued between letters it is a hyphen.
        return "" if before.isalpha() and after.isalpha() else "-"
    bears = (
        mark in _MEANING
        or mark in "()"
        or unicodedata.category(mark)[0] == "S"
        or (mark == "." and after.isalnum() and not before.isalnum())
        or (mark in "'\"′″" and before.isdigit())
        or (mark == "!" and _FACTORIAL.search(text[max(0, match.start() - _NEAR) : match.end()]) is not None)
    )
    return mark if bears else ""


def _signs(tokens: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """The signs with their neighbours. Brackets count only in what is calculated."""
    if not _OPERATORS.intersection(tokens):
        tokens = [token for token in tokens if token not in ("(", ")")]
    told = ["", *(_told(token) for token in tokens), ""]
    return tuple(
        sorted((told[at - 1], told[at], told[at + 1]) for at in range(1, len(told) - 1) if _is_mark(told[at]))
    )


def _number(word: str) -> str:
    return word if word[0].isnumeric() else _ORDINALS.get(word, "")


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
    here, there = one[at : len(one) - end], other[at : len(other) - end]
    if _place_otherwise(here, there):
        return True
    left = [word for word in here if word not in _SLIGHT]
    right = [word for word in there if word not in _SLIGHT]
    if not 0 < len(left) <= _WIDEST_SLOT or not 0 < len(right) <= _WIDEST_SLOT:
        return False
    return not any(_akin(a, b) for a in left for b in right)


def _place_otherwise(here: Sequence[str], there: Sequence[str]) -> bool:
    """Whether each has its own direction or person in the one place where they differ: `to` and `from`, `I` and `you`."""
    ways = [{word for word in words if word in _PLACING} for words in (here, there)]
    persons = [{_PERSONS[word] for word in words if word in _PERSONS} for words in (here, there)]
    return any(bool(a and b) and not a & b for a, b in (ways, persons))


def _in_one_order(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the words that both have stand in one order: who pays whom is told by nothing else."""
    roots = _roots({*one, *other})
    first, second = [roots[word] for word in one], [roots[word] for word in other]
    shared = Counter(first) & Counter(second)
    return _longest_common(first, second) == shared.total()


def _roots(words: Iterable[str]) -> dict[str, str]:
    """Each word with the shortest that it is akin to."""
    roots, root = {}, ""
    for word in sorted(words):
        if len(root) < _LETTERS_OF_A_STEM or not word.startswith(root):
            root = word
        roots[word] = root
    return roots


def _longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, by bits (Hyyrö 2004): a hostile question costs no square of its words."""
    places: defaultdict[str, int] = defaultdict(int)
    for at, word in enumerate(one):
        places[word] |= 1 << at
    every = (1 << len(one)) - 1
    open_ = every
    for word in other:
        met = open_ & places[word]
        open_ = ((open_ + met) | (open_ - met)) & every
    return len(one) - open_.bit_count()
