"""Citations: only what was offered and is used, never from code."""

from hypothesis import given
from hypothesis import strategies as st

from assistants.citations import used_citations, used_indices, without_markers
from assistants.types import Citation


def offered(count: int) -> list[Citation]:
    """`count` passages an answer may cite."""
    return [Citation(n, f"d{n}", "k", f"t{n}", f"c{n}", "text", 0.5, "") for n in range(1, count + 1)]


def test_markers_in_their_usual_forms() -> None:
    """Alone, together, in one bracket; in the order of first use."""
    assert used_indices("So [2]. And [1][3], [ 4, 5 ] or [6; 2].") == (2, 1, 3, 4, 5, 6)
    assert used_indices("no [x], no [1.5], no [], no [1234]") == ()


def test_code_cites_nothing() -> None:
    """Brackets of programs are not markers, closed or cut off."""
    assert used_indices("`a[1]` and\n```py\nrows[2]\n``` then [3] and ```\nx[4]") == (3,)


def test_unknown_numbers_are_dropped() -> None:
    """A number nobody offered is no citation."""
    assert [c.index for c in used_citations("[9] [2] [1]", offered(2))] == [1, 2]
    assert used_citations("nothing", offered(3)) == ()


@given(st.text(alphabet="[]0123456789,; `\nab", max_size=200), st.integers(0, 12))
def test_citations_are_a_subset_in_order(text: str, count: int) -> None:
    """Whatever the text, citations come from those offered, once each, by number."""
    indices = [c.index for c in used_citations(text, offered(count))]
    assert indices == sorted(set(indices) & set(range(1, count + 1)))


@given(st.text(alphabet="[]0123456789,; `\nab", max_size=200))
def test_markers_are_removed_from_prose(text: str) -> None:
    """A marker in prose goes; text without any stays as it is."""
    if not used_indices(text) and "`" not in text:
        assert without_markers(text) == text
    assert without_markers("Yes [1], `a[1]`[2].") == "Yes, `a[1]`."
