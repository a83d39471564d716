"""Terms: folding, stop words, stems."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.keyword_index import keyword, match_expression, tagged_keywords
from knowledge.stemming import stem
from knowledge.words import MAX_TERM_CHARS, terms_of

# Examples of Porter's paper and his vocabulary file.
STEMS = {
    "caresses": "caress", "ponies": "poni", "cats": "cat", "feed": "feed", "plastered": "plaster",
    "motoring": "motor", "sing": "sing", "conflated": "conflat", "hopping": "hop", "falling": "fall",
    "filing": "file", "happy": "happi", "sky": "sky", "relational": "relat", "rational": "ration",
    "vietnamization": "vietnam", "operator": "oper", "sensibiliti": "sensibl", "triplicate": "triplic",
    "electriciti": "electr", "hopefulness": "hope", "revival": "reviv", "replacement": "replac",
    "adjustment": "adjust", "adoption": "adopt", "effective": "effect", "probate": "probat", "rate": "rate",
    "cease": "ceas", "controll": "control", "roll": "roll",
}  # fmt: skip


@pytest.mark.parametrize(("word", "stemmed"), STEMS.items())
def test_stems_are_porters(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


def test_terms_are_folded_and_stop_words_left_out() -> None:
    assert terms_of("The Boundary-Layers of Übersee's wing") == ["boundari", "layer", "uberse", "wing"]
    assert terms_of("") == []
    assert terms_of("the and of") == []


def test_unspaced_scripts_become_pairs() -> None:
    assert terms_of("漢字検索") == ["漢字", "字検", "検索"]


@given(st.text(max_size=300))
def test_any_text_gives_terms_that_are_keywords(text: str) -> None:
    base = uuid.UUID(int=7)
    terms = terms_of(text)
    assert all(term and len(term) <= MAX_TERM_CHARS for term in terms)
    stored = tagged_keywords(base, terms)
    assert stored.isascii()
    assert set(stored.split()) == {keyword(base, term) for term in terms}
    assert all(each.isalnum() for each in stored.split())
    assert all(f'"{keyword(base, term)}"' in match_expression("sqlite", [base], terms) for term in terms)
