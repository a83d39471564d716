"""Cutting a document into chunks along its structure. Pure.

A chunk is what is embedded, found and cited: about 900 letters (some 220 tokens) that stay within one section where
they can. Its heading path is kept beside its text. Paragraphs are cut at sentences, tables between rows with the
header repeated, code stays whole when it fits. Neighbours within a section share their border sentence. Nothing is
lost: every word of the document is in some chunk's text or heading.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from knowledge.parsing.blocks import Block, BlockKind

TARGET_CHARS = 900
# The longest text a chunk may have: code and table rows are kept whole up to here.
MAX_CHARS = 1_600
# A section shorter than this joins the next one.
MIN_CHARS = 250
OVERLAP_CHARS = 160
# A longer "heading" is a paragraph that someone styled.
MAX_HEADING_CHARS = 200
MAX_PATH_CHARS = 400
CHARS_PER_TOKEN = 4
PATH_SEPARATOR = " › "

_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True)
class TextChunk:
    """One chunk. `heading` is the path of headings over it; `page` the page it starts on, 0 when unknown."""

    position: int
    heading: str
    text: str
    page: int

    @property
    def tokens(self) -> int:
        """An estimate: four letters a token."""
        return estimate_tokens(self.text)


# The headings over a piece, each with its number in the document: two sections may have the same name.
_Path = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a block that is never cut again."""

    path: _Path
    text: str
    page: int
    joiner: str
    overlaps: bool


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, about: four letters each, at least one."""
    return max(1, len(text) // CHARS_PER_TOKEN)


def cut_chunks(blocks: Iterable[Block]) -> list[TextChunk]:
    """The chunks of a document, in order, positions from 0."""
    packer = _Packer()
    for piece in _pieces(blocks):
        packer.add(piece)
    packer.flush()
    return packer.chunks


class _Packer:
    """Fills chunks with pieces, in order."""

    def __init__(self) -> None:
        self.chunks: list[TextChunk] = []
        self._text = ""
        self._fresh = 0
        self._path: _Path = ()
        self._last_path: _Path = ()
        self._last: _Piece | None = None
        self._page = 0

    def add(self, piece: _Piece) -> None:
        if self._text and not self._fits(piece):
            self._cut(piece)
        if not self._fresh:
            # What was carried over for the overlap does not decide where a chunk begins.
            self._page = piece.page
        if not self._text:
            self._path = piece.path
            self._text = piece.text
        else:
            self._text += self._joint(piece) + piece.text
        self._fresh += len(piece.text)
        self._last_path, self._last = piece.path, piece

    def flush(self) -> None:
        if self._text and self._fresh:
            heading = PATH_SEPARATOR.join(_names(self._path))
            self.chunks.append(TextChunk(len(self.chunks), heading, self._text, self._page))
        self._text, self._fresh = "", 0

    def _fits(self, piece: _Piece) -> bool:
        grown = len(self._text) + len(self._joint(piece)) + len(piece.text)
        if piece.path != self._last_path and self._fresh >= MIN_CHARS:
            return False
        return grown <= TARGET_CHARS

    def _joint(self, piece: _Piece) -> str:
        """What stands between the text so far and `piece`: the headings that are new, or the block's own joiner."""
        if piece.path == self._last_path:
            return piece.joiner
        shared = 0
        while (
            shared < min(len(piece.path), len(self._last_path))
            and piece.path[shared] == self._last_path[shared]
        ):
            shared += 1
        return "\n".join(["", *_names(piece.path[shared:]), ""])

    def _cut(self, following: _Piece) -> None:
        last = self._last
        self.flush()
        if last is None or not (last.overlaps and following.overlaps) or last.path != following.path:
            return
        if len(last.text) <= OVERLAP_CHARS and len(last.text) + len(following.text) < TARGET_CHARS:
            self._text, self._path = last.text, last.path
            self._last_path = last.path


def _names(path: _Path) -> list[str]:
    return [name for _, name in path]


def _pieces(blocks: Iterable[Block]) -> Iterator[_Piece]:
    """All pieces of the document; a heading that nothing follows becomes a piece of its own."""
    open_headings = _Headings()
    for number, block in enumerate(blocks):
        if block.kind is BlockKind.HEADING and len(block.text) <= MAX_HEADING_CHARS:
            if block.text:
                yield from open_headings.enter(number, block)
            continue
        for piece in _pieces_of(block, open_headings.path):
            open_headings.said = True
            yield piece
    yield from open_headings.unsaid()


class _Headings:
    """The headings over the place at hand. `said` is whether anything followed the innermost."""

    def __init__(self) -> None:
        self._levels: list[int] = []
        self._path: list[tuple[int, str]] = []
        self.said = True

    @property
    def path(self) -> _Path:
        return tuple(self._path)

    def enter(self, number: int, block: Block) -> Iterator[_Piece]:
        """Go under a heading; what would be lost by that is said as text."""
        if self._levels and block.level <= self._levels[-1]:
            yield from self.unsaid()
        while self._levels and self._levels[-1] >= block.level:
            self._levels.pop()
            self._path.pop()
        while self._path and sum(len(text) for _, text in self._path) + len(block.text) > MAX_PATH_CHARS:
            # Headings too many for a path: the outermost are said once as text and leave it.
            self._levels.pop(0)
            yield _Piece((), self._path.pop(0)[1], block.page, "\n", overlaps=False)
        self._levels.append(block.level)
        self._path.append((number, block.text))
        self.said = False

    def unsaid(self) -> Iterator[_Piece]:
        """The innermost heading as text, when nothing followed it."""
        if not self.said:
            self.said = True
            yield _Piece(self.path[:-1], self._path[-1][1], 0, "\n", overlaps=False)


def _pieces_of(block: Block, path: _Path) -> Iterator[_Piece]:
    if block.kind is BlockKind.TABLE:
        for text in _table_parts(block):
            yield _Piece(path, text, block.page, "\n\n", overlaps=False)
    elif block.kind is BlockKind.CODE:
        for text in _code_parts(block.text):
            yield _Piece(path, text, block.page, "\n\n", overlaps=False)
    else:
        for number, (text, joiner) in enumerate(_sentences(block.text)):
            yield _Piece(path, text, block.page, "\n\n" if number == 0 else joiner, overlaps=True)


def _sentences(text: str) -> Iterator[tuple[str, str]]:
    """Sentences with what stood before them: a space, or a line end. One that is too long is cut between words."""
    start, joiner = 0, " "
    for mark in _SENTENCE.finditer(text):
        # Closing quotes belong to the sentence they end.
        closing = len(mark.group()) - len(mark.group().lstrip("\"'”’)]"))
        yield from _bounded(text[start : mark.start() + closing], joiner)
        start, joiner = mark.end(), "\n" if "\n" in mark.group() else " " if mark.group() else ""
    yield from _bounded(text[start:], joiner)


def _bounded(text: str, joiner: str) -> Iterator[tuple[str, str]]:
    text = text.strip()
    while len(text) > TARGET_CHARS:
        at = text.rfind(" ", TARGET_CHARS // 2, TARGET_CHARS + 1)
        at = at if at > 0 else TARGET_CHARS
        yield text[:at].rstrip(), joiner
        joiner = " " if text[at].isspace() else ""
        text = text[at:].lstrip()
    if text:
        yield text, joiner


def _table_parts(block: Block) -> Iterator[str]:
    """Groups of rows of about the target's size, each under the table's header; a row beyond the limit is cut."""
    lines = [" | ".join(row) for row in block.rows]
    header = lines[0] if block.has_header and len(lines) > 1 and len(lines[0]) <= MAX_CHARS // 4 else ""
    group: list[str] = []
    size = len(header)
    for line in lines[1:] if header else lines:
        for part in (
            [line]
            if len(line) <= TARGET_CHARS - len(header)
            else _cut_words(line, TARGET_CHARS - len(header))
        ):
            if group and size + len(part) + 1 > TARGET_CHARS:
                yield "\n".join([header, *group] if header else group)
                group, size = [], len(header)
            group.append(part)
            size += len(part) + 1
    if group:
        yield "\n".join([header, *group] if header else group)


def _cut_words(line: str, size: int) -> list[str]:
    parts: list[str] = []
    while len(line) > size:
        at = line.rfind(" ", size // 2, size + 1)
        at = at if at > 0 else size
        parts.append(line[:at].rstrip())
        line = line[at:].lstrip()
    return [*parts, line] if line else parts


def _code_parts(text: str) -> Iterator[str]:
    """The code whole when it fits, else groups of lines."""
    if len(text) <= MAX_CHARS:
        if text:
            yield text
        return
    group = ""
    for line in text.split("\n"):
        for part in [line[at : at + TARGET_CHARS] for at in range(0, len(line), TARGET_CHARS)] or [""]:
            if group and len(group) + len(part) + 1 > TARGET_CHARS:
                yield group
                group = part
            else:
                group = f"{group}\n{part}" if group else part
    if group.strip():
        yield group
