"""Cutting documents into chunks: nothing lost, sizes bounded, structure kept."""

import itertools
import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.chunking import MAX_CHARS, MAX_HEADING_CHARS, PATH_SEPARATOR, TARGET_CHARS, cut_chunks
from knowledge.parsing.blocks import Block, code, heading, paragraph, table

WORD = st.text(alphabet="abcdefghijklmnop", min_size=1, max_size=12)
SENTENCE = st.lists(WORD, min_size=1, max_size=30).map(lambda words: " ".join(words) + ".")
PARAGRAPH = st.lists(SENTENCE, min_size=1, max_size=12).map(" ".join).map(paragraph)
HEADING = st.tuples(st.lists(WORD, min_size=1, max_size=40).map(" ".join), st.integers(1, 6)).map(
    lambda parts: heading(*parts)
)
TABLE = st.lists(st.lists(WORD, min_size=2, max_size=4), min_size=1, max_size=60).map(table)
CODE = st.lists(WORD, min_size=1, max_size=200).map("\n".join).map(code)
BLOCKS = st.lists(st.one_of(PARAGRAPH, HEADING, TABLE, CODE), max_size=15)


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


def words_of(block: Block) -> Counter[str]:
    return words(" ".join([block.text, *(" ".join(row) for row in block.rows)]))


@settings(deadline=None, max_examples=50)
@given(BLOCKS)
def test_no_word_is_lost(blocks: list[Block]) -> None:
    chunks = cut_chunks(blocks)
    kept: Counter[str] = Counter()
    for chunk in chunks:
        kept += words(chunk.text) + words(chunk.heading)
    wanted: Counter[str] = Counter()
    for block in blocks:
        wanted += words_of(block)
    assert wanted <= kept


@settings(deadline=None, max_examples=50)
@given(BLOCKS)
def test_sizes_are_bounded_and_positions_follow(blocks: list[Block]) -> None:
    chunks = cut_chunks(blocks)
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert chunk.text.strip()
        assert len(chunk.text) <= MAX_CHARS
        assert len(chunk.heading) <= 400 + MAX_HEADING_CHARS


@settings(deadline=None, max_examples=30)
@given(st.text(min_size=1, max_size=6000))
def test_any_text_at_all(text: str) -> None:
    block = paragraph(text)
    chunks = cut_chunks([block])
    assert all(len(chunk.text) <= MAX_CHARS for chunk in chunks)
    dense = re.sub(r"\s", "", block.text)
    assert len(dense) <= sum(len(re.sub(r"\s", "", chunk.text)) for chunk in chunks)


def test_headings_are_a_path_and_sections_stay_apart() -> None:
    filler = "This sentence fills the section with enough words to stand alone. " * 6
    chunks = cut_chunks(
        [
            heading("Guide", 1),
            heading("Install", 2),
            paragraph(filler),
            heading("Run", 2),
            paragraph(filler),
        ]
    )
    assert [chunk.heading for chunk in chunks] == [
        f"Guide{PATH_SEPARATOR}Install",
        f"Guide{PATH_SEPARATOR}Run",
    ]


def test_short_sections_are_merged_and_keep_their_headings_in_the_text() -> None:
    blocks = [heading("Terms", 1)]
    for name in ("Alpha", "Beta", "Gamma"):
        blocks += [heading(name, 2), paragraph(f"{name} is short.")]
    chunks = cut_chunks(blocks)
    assert len(chunks) == 1
    assert chunks[0].heading == f"Terms{PATH_SEPARATOR}Alpha"
    assert chunks[0].text == "Alpha is short.\nBeta\nBeta is short.\nGamma\nGamma is short."


def test_tables_repeat_their_header_and_keep_rows_whole() -> None:
    rows = [["Part", "Price"], *([f"bolt {n:04}", f"{n} EUR"] for n in range(200))]
    chunks = cut_chunks([heading("Prices", 1), table(rows)])
    assert len(chunks) > 3
    for chunk in chunks:
        lines = chunk.text.split("\n")
        assert lines[0] == "Part | Price"
        assert all(re.fullmatch(r"bolt \d{4} \| \d+ EUR", line) for line in lines[1:])


def test_code_stays_whole_when_it_fits() -> None:
    source = "\n".join(f"line_{n} = compute({n})" for n in range(50))
    assert TARGET_CHARS < len(source) < MAX_CHARS
    chunks = cut_chunks([paragraph("Before."), code(source), paragraph("After.")])
    assert [source] == [chunk.text for chunk in chunks if "compute" in chunk.text]


def test_neighbours_share_their_border_sentence() -> None:
    text = " ".join(f"Sentence number {n} says something about topic {n}." for n in range(60))
    chunks = cut_chunks([paragraph(text)])
    assert len(chunks) > 2
    for before, after in itertools.pairwise(chunks):
        shared = after.text.split(".")[0]
        assert shared in before.text
        assert len(after.text) <= TARGET_CHARS + 10


def test_headings_without_text_are_kept() -> None:
    chunks = cut_chunks([heading("One", 1), heading("Two", 1), paragraph("Text."), heading("End", 2)])
    said = " ".join(chunk.heading + " " + chunk.text for chunk in chunks)
    assert all(name in said for name in ("One", "Two", "End"))


def test_a_page_is_where_a_chunk_begins() -> None:
    text = "A sentence that is long enough to matter for the size of a chunk. " * 13
    chunks = cut_chunks([paragraph(text, page=number) for number in (1, 2, 3)])
    assert [chunk.page for chunk in chunks][:3] == [1, 2, 2]
    assert chunks[-1].page == 3
