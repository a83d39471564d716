"""How far two texts agree: the formula, and what counts as a word."""

import pytest

from routing.agreement import MOST_CHARS, agreement_of


@pytest.mark.parametrize(
    ("one", "other", "share", "same"),
    [
        ("The cat sat.", "the CAT sat", 1.0, True),
        ("a b c d", "a b x y", 0.5, False),
        # As often as in the text with fewer of it: two of two and four words.
        ("no no", "no no no no", 2 * 2 / 6, False),
        ("b a", "a b", 1.0, False),
        ("left", "right", 0.0, False),
        ("something", "", 0.0, False),
        ("Straße", "STRASSE", 1.0, True),
        # Compatibility forms, and scripts without spaces letter by letter.
        ("ﬁne ①", "fine 1", 1.0, True),
        ("東京都", "東京", 2 * 2 / 5, False),
    ],
)
def test_the_share_of_words(one: str, other: str, share: float, same: bool) -> None:
    for first, second in ((one, other), (other, one)):
        found = agreement_of(first, second)
        assert found is not None
        assert (found.share, found.same) == (pytest.approx(share), same)


def test_what_is_not_compared() -> None:
    assert agreement_of("", "") is None
    assert agreement_of("…", "!!") is None
    assert agreement_of("a" * (MOST_CHARS + 1), "a") is None
    assert agreement_of("a " * (MOST_CHARS // 2), "a") is not None
