"""Plain text: paragraphs between blank lines; and how bytes of any encoding become text."""

import re

from charset_normalizer import from_bytes

from knowledge.parsing.blocks import Block, ParsedDocument, clean, paragraph

_BLANK = re.compile(r"\n[^\S\n]*\n\s*")
# Enough to tell an encoding; looking at all of a large file takes minutes.
_SAMPLE_BYTES = 64 * 1024


def decode(content: bytes) -> str:
    """`content` as text: by its byte order mark, as UTF-8, else in the likeliest encoding. Never raises."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(content[:_SAMPLE_BYTES]).best()
        encoding = best.encoding if best is not None else "cp1252"
        return content.decode(encoding, errors="replace")


def paragraphs_of(text: str, page: int = 0) -> list[Block]:
    """The paragraphs of cleaned text, split at blank lines."""
    return [paragraph(part, page) for part in _BLANK.split(text) if part.strip()]


def parse(content: bytes, file_name: str) -> ParsedDocument:
    """Every paragraph of the text."""
    return ParsedDocument(blocks=tuple(paragraphs_of(clean(decode(content)))))
