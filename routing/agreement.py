"""How far two answers to one question agree, by their words alone. Pure.

The measure is the token F1 of SQuAD (Rajpurkar, Zhang, Lopyrev, Liang: "SQuAD: 100,000+ Questions for Machine Comprehension
of Text", EMNLP 2016): with the words that both texts have (each as often as the one with fewer of it) as o, and their
lengths a and b in words, 2o / (a + b). It is the same whichever text comes first. Texts are compared by compatibility
forms in lower case without punctuation; articles stay, for answers are in any language; a letter of a script without
spaces is a word. It knows no meaning: two right answers may agree little, and a wrong one much.
"""

import re
import unicodedata
from collections import Counter

from msgspec import Struct

# A longer text is not compared: at this length it takes some milliseconds, three times that letter by letter.
MOST_CHARS = 16_384
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


class Agreement(Struct, frozen=True):
    """The share of words that agree, 0–1; and whether the texts are the same, word by word."""

    share: float
    same: bool


def agreement_of(one: str, other: str) -> Agreement | None:
    """How far two texts agree; None when either is too long, or when there is not one word in both."""
    if len(one) > MOST_CHARS or len(other) > MOST_CHARS:
        return None
    first, second = _words(one), _words(other)
    if not first and not second:
        return None
    both = Counter(first) & Counter(second)
    return Agreement(2 * both.total() / (len(first) + len(second)), first == second)


def _words(text: str) -> list[str]:
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return _WORD.findall(plain.casefold())
