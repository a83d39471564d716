"""Word documents by python-docx: headings by style, paragraphs, lists and tables in reading order."""

import io
import re
import zipfile

import docx
from docx.document import Document
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml import etree

from knowledge.parsing.blocks import (
    Block,
    DocumentRefused,
    ParsedDocument,
    clean,
    has_text,
    heading,
    paragraph,
    table,
)

_HEADING_STYLE = re.compile(r"^(?:heading|überschrift)\s*(\d)$", re.IGNORECASE)


def parse(content: bytes, file_name: str) -> ParsedDocument:
    """The document's body. Raises DocumentRefused (`damaged`)."""
    try:
        document = docx.Document(io.BytesIO(content))
        title = clean(document.core_properties.title or "").strip()
        blocks = [block for block in _body(document) if has_text(block)]
    except (
        PackageNotFoundError,
        zipfile.BadZipFile,
        etree.XMLSyntaxError,
        KeyError,
        ValueError,
        AttributeError,
    ) as error:
        raise DocumentRefused("damaged", "The Word document is damaged and cannot be read.") from error
    return ParsedDocument(title=title[:500], blocks=tuple(blocks))


def _body(document: Document) -> list[Block]:
    blocks: list[Block] = []
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            blocks.append(_table(item))
        else:
            blocks.append(_paragraph(item))
    return blocks


def _paragraph(item: Paragraph) -> Block:
    style = (item.style.name if item.style is not None else "") or ""
    marked = _HEADING_STYLE.match(style)
    if marked:
        return heading(item.text, int(marked.group(1)))
    if style == "Title":
        return heading(item.text, 1)
    return paragraph(f"- {item.text}" if style.startswith("List") and item.text.strip() else item.text)


def _table(item: Table) -> Block:
    """The cells; a merged cell is given once."""
    rows: list[list[str]] = []
    for row in item.rows:
        seen: set[int] = set()
        cells: list[str] = []
        for cell in row.cells:
            if id(cell._tc) not in seen:
                seen.add(id(cell._tc))
                cells.append(cell.text)
        rows.append(cells)
    return table(rows)
