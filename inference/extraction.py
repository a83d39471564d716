"""How the extractive engine answers: which sentences of the given passages speak of the question. Pure.

It quotes and never writes: sentences are scored by the question's words they share, rare words counting more (as in
BM25's inverse document frequency, over the sentences at hand), the best of them quoted with their citation numbers.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.types import ContextPassage

MOST_QUOTES = 3
# A sentence must hold at least this share of what the question's words are worth together.
LEAST_SHARE = 0.25
# Quotes much weaker than the best one only distract.
LEAST_OF_BEST = 0.6
LONGEST_QUOTE = 600
LONGEST_HEADING = 90
# A word that only the heading above says counts for so much of one in the sentence itself, and for less further down.
HEADING_SHARE = 0.85
HEADING_FADES = 0.8
TITLE_SHARE = 0.4
# A sentence that takes up its heading's word is likely to be what the heading promises.
AGREEMENT_SHARE = 0.4
# Rows of tables read badly without their table.
ROW_SHARE = 0.7

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_SENTENCE_END = re.compile(
    r"(?<=[.!?…])\s+(?=[\"'“„(\[]?[A-ZÄÖÜÀ-Þ0-9])|\n{2,}|\n(?=\s*(?:[-*•#|>]|\d+[.)]\s))"
)
_HEADING = re.compile(r"#+\s|(?![-*•>|`]|\d+[.)]\s).*[^.!:;,…]$")
_STOP_TEXT = """
a about all an and any are as at be been but by can could did do does for from had has have how i if in into
is it its just many me much my no not of on or our please she should so some tell than that the their them
then there these they this to us was we were what when where which who whose why will with would you your
aber als am an auch auf aus bei bin bis das dass dein dem den der des die dir doch du ein eine einem einen
einer eines er es für gibt hat habe haben ich ihr im in ist ja kann können man mein mir mit nach nicht noch
nur oder sein sich sie sind so über um und uns unser vom von vor wann war warum was welche welchem welchen
welcher welches wenn wer werden wie wieso wir wird wo wurde zu zum zur
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_GERMAN_TEXT = """
der die das und ist wie was wer wo wann warum welche welcher welches nicht ein eine für mit auf ich wir sind
kann gibt wird werden lautet hat haben
"""
_GERMAN = frozenset(_GERMAN_TEXT.split())
# What of the commonest English words German has not got.
_ENGLISH_TEXT = """
a about an and are can could did do does for from how i is it my not of on or the there this to what when where
which who whose why with you your
"""
_ENGLISH = frozenset(_ENGLISH_TEXT.split())

_FRAMES = {
    "en": (
        "Quoted from the knowledge (extractive engine, not a language model):",
        "I found nothing in the knowledge about this. I am an extractive engine, not a language model: I can only "
        "quote passages.",
        "I am an extractive engine, not a language model: I can only quote passages of a knowledge base, and none was "
        "given to me.",
    ),
    "de": (
        "Zitate aus dem Wissen (extraktive Maschine, kein Sprachmodell):",
        "Dazu habe ich im Wissen nichts gefunden. Ich bin eine extraktive Maschine, kein Sprachmodell: ich kann nur "
        "Textstellen zitieren.",
        "Ich bin eine extraktive Maschine, kein Sprachmodell: ich kann nur Textstellen einer Wissensbasis zitieren, "
        "und mir wurde keine gegeben.",
    ),
}


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence, or a few that belong together, of the passage with this citation number."""

    index: int
    text: str
    score: float


def answer_text(question: str, passages: Sequence[ContextPassage]) -> str:
    """The whole answer: labelled quotes with `[n]`, or that nothing was found. German questions get a German frame."""
    heading, nothing, no_passages = _FRAMES["de" if is_german(question) else "en"]
    if not passages:
        return no_passages
    quotes = best_quotes(question, passages)
    if not quotes:
        return nothing
    return "\n\n".join([heading, *(f"> {quote.text} [{quote.index}]" for quote in quotes)])


def best_quotes(question: str, passages: Sequence[ContextPassage]) -> list[Quote]:
    """Up to three quotes that share the question's words, the best first; none when nothing fits."""
    asked = set(content_words(question))
    pieces = [(passage, piece) for passage in passages for piece in pieces_of(passage)]
    if not asked or not pieces:
        return []
    spread = Counter(word for _, piece in pieces for word in (piece.words | piece.heading) & asked)
    worth = {word: math.log(1 + (len(pieces) + 0.5) / (spread[word] + 0.5)) for word in asked}
    whole = sum(worth.values())
    highest = max(passage.score for passage in passages)
    scored = []
    for passage, piece in pieces:
        share = sum(worth[word] * piece.weight(word) for word in asked) / whole
        if share >= LEAST_SHARE:
            # What the search thought of the passage counts too: it has seen meaning, this has seen words.
            rank = 0.6 + 0.4 * passage.score / highest if highest > 0 else 1.0
            scored.append((share * rank, -passage.index, Quote(passage.index, _shortened(piece.text), share)))
    scored.sort(key=lambda entry: entry[:2], reverse=True)
    chosen: list[Quote] = []
    for value, _, quote in scored:
        if value < LEAST_OF_BEST * scored[0][0] or len(chosen) == MOST_QUOTES:
            break
        if all(quote.text != other.text for other in chosen):
            chosen.append(quote)
    return chosen


@dataclass(frozen=True, slots=True)
class Piece:
    """A sentence, list item or table row of a passage; `heading` are the words of the heading it stands under.

    `distance` counts the pieces between it and that heading. One that ends with a colon holds what follows it.
    """

    text: str
    words: frozenset[str]
    heading: frozenset[str]
    title: frozenset[str]
    distance: int

    def weight(self, word: str) -> float:
        """How much of a question's word this piece answers: all when it says it, less when its surroundings do."""
        above = HEADING_SHARE * HEADING_FADES**self.distance if word in self.heading else 0.0
        if word in self.words:
            said = ROW_SHARE if self.text.count(" | ") > 1 else 1.0
            return said + AGREEMENT_SHARE * above
        return max(above, TITLE_SHARE if word in self.title else 0.0)


def pieces_of(passage: ContextPassage) -> list[Piece]:
    """What of a passage can be quoted, in order; its headings are not, but count for what follows them."""
    title = frozenset(content_words(passage.title))
    found: list[Piece] = []
    heading: frozenset[str] = frozenset()
    distance = 0
    lines = [line for line in passage.text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if number + 1 < len(lines) and _is_heading(line):
            heading, distance = frozenset(content_words(line)), 0
            continue
        for sentence in sentences_of(line):
            if found and found[-1].text.endswith(":"):
                held = f"{found[-1].text} {sentence}"
                words = found[-1].words | frozenset(content_words(sentence))
                found[-1] = Piece(held, words, found[-1].heading, title, found[-1].distance)
                continue
            found.append(Piece(sentence, frozenset(content_words(sentence)), heading, title, distance))
            distance += 1
    return found


def _is_heading(line: str) -> bool:
    text = line.strip()
    return len(text) <= LONGEST_HEADING and bool(_HEADING.match(text)) and " | " not in text


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; list items, headings and table rows each by themselves."""
    pieces = (" ".join(piece.split()) for piece in _SENTENCE_END.split(text))
    return [piece for piece in pieces if piece]


def content_words(text: str) -> Iterable[str]:
    """Words that carry meaning, folded: lower case, without accents and plain endings."""
    for word in _WORD.findall(text.lower()):
        if word not in _STOP_WORDS:
            yield _stem(_unaccented(word))


def is_german(question: str) -> bool:
    """Whether the question looks German: umlauts, or several of the commonest words and fewer English ones.

    Words in capitals are taken for abbreviations: "a DER encoded key" is English.
    """
    if any(letter in question for letter in "äöüßÄÖÜ"):
        return True
    found = _WORD.findall(question)
    shouted = question.isupper()
    words = [word.lower() for word in found if shouted or not word.isupper() or len(word) == 1]
    german = sum(word in _GERMAN for word in words)
    return german >= max(1, len(words) // 4) and german > sum(word in _ENGLISH for word in words)


def _unaccented(word: str) -> str:
    if word.isascii():
        return word
    return "".join(each for each in unicodedata.normalize("NFKD", word) if not unicodedata.combining(each))


def _stem(word: str) -> str:
    """Cuts the endings that most often keep a question's word from meeting the text's; crude on purpose."""
    for ending in (
        "ations",
        "ation",
        "ingen",
        "ungen",
        "ing",
        "ung",
        "ies",
        "ed",
        "es",
        "en",
        "er",
        "s",
        "e",
        "n",
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def _shortened(sentence: str) -> str:
    if len(sentence) <= LONGEST_QUOTE:
        return sentence
    return sentence[:LONGEST_QUOTE].rsplit(" ", 1)[0] + " …"
