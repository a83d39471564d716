"""What parsers produce: a document as a flat list of blocks, and the two answers a parser process can give."""

import re
from enum import StrEnum

import msgspec

# What may stay of the C0 and C1 control characters: tab and line feed.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ufeff\ud800-\udfff]")
_NEWLINES = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r" ?\n(?: ?\n)+ ?")


class BlockKind(StrEnum):
    """What a block is."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    TABLE = "table"
    CODE = "code"


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One block. `level` is a heading's, from 1; `rows` are a table's cells, the first one its header when
    `has_header`; `page` counts from 1 where the format has pages, else 0.
    """

    kind: BlockKind
    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()
    has_header: bool = True
    page: int = 0


class ParsedDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="document"):
    """A whole document: its own title when it names one, its blocks in reading order, its number of pages."""

    title: str = ""
    blocks: tuple[Block, ...] = ()
    pages: int = 0


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """Why a document cannot be read: a stable `code` and a `reason` for people."""

    code: str
    reason: str


class DocumentRefused(Exception):
    """A parser's verdict that the document cannot be read."""

    def __init__(self, code: str, reason: str) -> None:
        """`code` is stable, `reason` is for people and never quotes the document."""
        super().__init__(reason)
        self.refusal = Refusal(code=code, reason=reason)


def clean(text: str) -> str:
    """`text` with one kind of line end and without control characters, lone surrogates and invisible marks."""
    return _CONTROL.sub("", _NEWLINES.sub("\n", text))


def tidy(text: str) -> str:
    """`text` cleaned, runs of spaces as one, runs of blank lines as one line end, trimmed."""
    return _BLANK_LINES.sub("\n", _SPACES.sub(" ", clean(text))).strip()


def heading(text: str, level: int, page: int = 0) -> Block:
    """A heading on one line; `level` is brought into 1–6."""
    return Block(
        kind=BlockKind.HEADING, text=" ".join(tidy(text).split()), level=min(max(level, 1), 6), page=page
    )


def paragraph(text: str, page: int = 0) -> Block:
    """A paragraph, tidied."""
    return Block(kind=BlockKind.PARAGRAPH, text=tidy(text), page=page)


def code(text: str, page: int = 0) -> Block:
    """Preformatted text: cleaned, its spaces kept."""
    return Block(kind=BlockKind.CODE, text=clean(text).strip("\n").rstrip(), page=page)


def table(rows: list[list[str]], *, has_header: bool = True, page: int = 0) -> Block:
    """A table; cells are put on one line each, rows without any text are left out."""
    cells = tuple(tuple(" ".join(tidy(cell).split()) for cell in row) for row in rows)
    return Block(
        kind=BlockKind.TABLE, rows=tuple(row for row in cells if any(row)), has_header=has_header, page=page
    )


def has_text(block: Block) -> bool:
    """Whether the block says anything."""
    return bool(block.text or block.rows)
