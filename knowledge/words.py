"""The words of a text as keyword search sees them: folded, without stop words, stemmed. Pure.

Both sides of a search, chunks and queries, go through `terms_of`; a change here needs every chunk indexed anew.
"""

import re
import unicodedata
import zlib
from collections import Counter

from knowledge.stemming import stem

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# Scripts written without spaces: Han, Hiragana, Katakana, Hangul is spaced and stays out.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
MAX_TERM_CHARS = 40
_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being below between both but by
can could did do does doing down during each few for from further had has have having he her here hers him his
how i if in into is it its itself me more most my no nor not of off on once only or other our ours out over own
same she should so some such than that the their theirs them then there these they this those through to too
under until up very was we were what when where which while who whom why will with would you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def terms_of(text: str) -> list[str]:
    """The terms of `text`, in order and with repetitions."""
    plain = text.isascii()
    terms: list[str] = []
    for word in _WORD.findall(text.lower() if plain else _fold(text)):
        if "'" in word:
            word = word.removesuffix("'s").replace("'", "")
        if not plain and _UNSPACED.search(word):
            terms += _pairs(word)
        elif word and word not in STOP_WORDS:
            terms.append(stem(word)[:MAX_TERM_CHARS])
    return terms


def count_terms(text: str) -> Counter[str]:
    """How often each term occurs."""
    return Counter(terms_of(text))


def term_number(term: str) -> int:
    """A term as 32 bits (CRC-32), for compact counts. Two terms of one chunk meet once in some millions."""
    return zlib.crc32(term.encode())


def _fold(text: str) -> str:
    """Lower case, compatibility forms, without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _pairs(word: str) -> list[str]:
    """Overlapping pairs of letters; a single letter stands for itself."""
    return [word[at : at + 2] for at in range(len(word) - 1)] or [word]
