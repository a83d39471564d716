"""PDF by pypdf: the text of each page, in paragraphs."""

import io
import re
from collections import Counter

import pypdf
from pypdf.errors import DependencyError, PyPdfError

from knowledge.parsing.blocks import Block, DocumentRefused, ParsedDocument, clean, paragraph
from knowledge.parsing.plain_text import paragraphs_of

MAX_PAGES = 2_000
_HYPHEN = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")
_SENTENCE_END = re.compile(r"[.!?:;…。]['\"’”)\]]*$")
_BULLET = re.compile(r"^\s*(?:[-•*–▪◦]|\(?\d{1,3}[.)])\s")
# A line found on this share of the pages, at their top or bottom, is the page's header or footer.
_REPEATED_SHARE = 0.6


def parse(content: bytes, file_name: str) -> ParsedDocument:
    """The text of all pages. Raises DocumentRefused: `encrypted`, `damaged`, `too_large`, `no_text`."""
    try:
        reader = pypdf.PdfReader(io.BytesIO(content), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentRefused("encrypted", "The PDF is protected by a password. Remove it and try again.")
        count = len(reader.pages)
        if count > MAX_PAGES:
            raise DocumentRefused("too_large", f"The PDF has {count} pages; {MAX_PAGES} are allowed.")
        texts = [clean(page.extract_text() or "") for page in reader.pages]
        title = clean((reader.metadata.title if reader.metadata is not None else None) or "").strip()
    except DependencyError as error:
        raise DocumentRefused("encrypted", "The PDF is encrypted in a way that cannot be read.") from error
    except (
        PyPdfError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OSError,
        AssertionError,
    ) as error:
        raise DocumentRefused("damaged", "The PDF is damaged and cannot be read.") from error
    if count and not any(text.strip() for text in texts):
        raise DocumentRefused("no_text", "The PDF holds no text: it is scanned and needs OCR first.")
    return ParsedDocument(title=title[:500], blocks=tuple(_blocks(texts)), pages=count)


def _blocks(texts: list[str]) -> list[Block]:
    pages = [[line.rstrip() for line in text.split("\n")] for text in texts]
    running = _running_lines(pages)
    blocks: list[Block] = []
    for number, lines in enumerate(pages, start=1):
        kept = [line for line in lines if line.strip() not in running]
        text = _HYPHEN.sub("", "\n".join(kept))
        for block in paragraphs_of(text, number):
            blocks.append(paragraph(_reflow(block.text), number))
    return blocks


def _running_lines(pages: list[list[str]]) -> frozenset[str]:
    """Headers and footers: the same first or last line on most of at least five pages."""
    if len(pages) < 5:
        return frozenset()
    seen: Counter[str] = Counter()
    for lines in pages:
        filled = [line.strip() for line in lines if line.strip()]
        seen.update(set(filled[:1] + filled[-1:]))
    return frozenset(line for line, count in seen.items() if count >= len(pages) * _REPEATED_SHARE)


def _reflow(text: str) -> str:
    """Lines that the page's width broke are joined; sentences' ends and list items keep their line."""
    lines = text.split("\n")
    out = lines[:1]
    for line in lines[1:]:
        if _SENTENCE_END.search(out[-1]) or _BULLET.match(line):
            out.append(line)
        else:
            out[-1] = f"{out[-1]} {line}"
    return "\n".join(out)
