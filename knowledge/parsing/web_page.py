"""HTML: the main text by trafilatura; when that finds nothing, the whole page's text by lxml."""

import re

import lxml.html
import trafilatura
from lxml import etree

from knowledge.parsing.blocks import Block, ParsedDocument, clean, code, has_text, heading, paragraph, table
from knowledge.parsing.plain_text import decode

_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_SILENT = ("script", "style", "noscript", "template", "svg", "iframe", "object", "head")
_LEVEL = re.compile(r"^h([1-6])$")
# Deeper trees than any real page; lxml's own limit guards the parser, this one our walk.
_MAX_DEPTH = 200
_BLOCK_TAGS = """
address article aside blockquote body dd details div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr html
li main nav ol p pre section summary table tbody td tfoot th thead tr ul
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split())


def parse(content: bytes, file_name: str) -> ParsedDocument:
    """The page's title and main text."""
    text = _clean_markup(_decode(content))
    tree = _tree(text)
    if tree is None:
        return ParsedDocument()
    title = " ".join((tree.findtext(".//title") or "").split())
    blocks = _main_blocks(text) or _page_blocks(tree)
    return ParsedDocument(title=clean(title)[:500], blocks=tuple(blocks))


def _decode(content: bytes) -> str:
    declared = _CHARSET.search(content[:4096])
    if declared:
        try:
            return content.decode(declared.group(1).decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(content)


def _clean_markup(text: str) -> str:
    """Without control characters, and without an XML declaration, which lxml refuses in text."""
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", clean(text))


def _tree(text: str) -> lxml.html.HtmlElement | None:
    parser = lxml.html.HTMLParser(no_network=True, remove_comments=True, remove_pis=True)
    try:
        return lxml.html.document_fromstring(text, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return None


def _main_blocks(text: str) -> list[Block]:
    extracted = trafilatura.extract(
        text,
        output_format="xml",
        include_tables=True,
        include_comments=False,
        favor_recall=True,
        deduplicate=False,
    )
    if not extracted:
        return []
    try:
        root = etree.fromstring(extracted, parser=etree.XMLParser(no_network=True, resolve_entities=False))
    except etree.XMLSyntaxError:
        return []
    main = root.find(".//main")
    return [
        block
        for element in (main if main is not None else root)
        for block in _extracted(element)
        if has_text(block)
    ]


def _extracted(element: etree._Element) -> list[Block]:
    """The blocks of one element of trafilatura's XML: head, p, list, quote, code, table."""
    if element.tag == "head":
        level = _LEVEL.match(element.get("rend") or "")
        return [heading(_text(element), int(level.group(1)) if level else 2)]
    if element.tag == "table":
        return [table([[_text(cell) for cell in row.iter("cell")] for row in element.iter("row")])]
    if element.tag == "list":
        return [paragraph("\n".join(f"- {_text(item)}" for item in element.iter("item")))]
    if element.tag == "code":
        return [code(_text(element))]
    return [paragraph(_text(element))]


def _text(element: etree._Element) -> str:
    return "".join(part for part in element.itertext() if isinstance(part, str))


def _page_blocks(tree: lxml.html.HtmlElement) -> list[Block]:
    """All visible text of the page, block by block."""
    for element in list(tree.iter(*_SILENT)):
        element.drop_tree()
    blocks: list[Block] = []
    body = tree.find("body")
    _walk(body if body is not None else tree, blocks, 0)
    return [block for block in blocks if has_text(block)]


def _walk(element: etree._Element, blocks: list[Block], depth: int) -> None:
    tag = element.tag if isinstance(element.tag, str) else ""
    level = _LEVEL.match(tag)
    if level:
        blocks.append(heading(_text(element), int(level.group(1))))
    elif tag == "pre":
        blocks.append(code(_text(element)))
    elif tag == "table":
        rows = [[_text(cell) for cell in row.iter("td", "th")] for row in element.iter("tr")]
        blocks.append(table(rows, has_header=element.find(".//th") is not None))
    elif depth >= _MAX_DEPTH or not any(child.tag in _BLOCKS for child in element.iterdescendants()):
        blocks.append(paragraph(_text(element)))
    else:
        _walk_children(element, blocks, depth)


def _walk_children(element: etree._Element, blocks: list[Block], depth: int) -> None:
    loose = [element.text or ""]
    for child in element:
        if isinstance(child.tag, str) and (
            child.tag in _BLOCKS or any(x.tag in _BLOCKS for x in child.iter())
        ):
            blocks.append(paragraph("".join(loose)))
            loose = [child.tail or ""]
            _walk(child, blocks, depth + 1)
        else:
            loose += [_text(child) if isinstance(child.tag, str) else "", child.tail or ""]
    blocks.append(paragraph("".join(loose)))
