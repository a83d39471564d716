"""CSV and TSV by the standard library: one table, the first row its header."""

import csv
import io

from knowledge.parsing.blocks import DocumentRefused, ParsedDocument, clean, table
from knowledge.parsing.plain_text import decode

MAX_CELL_CHARS = 1_000_000
MAX_ROWS = 200_000
_SAMPLE_CHARS = 16 * 1024


def parse(content: bytes, file_name: str) -> ParsedDocument:
    """The table. The delimiter is told from the start of the text; a comma when that does not say."""
    text = clean(decode(content))
    csv.field_size_limit(MAX_CELL_CHARS)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=_delimiter(text, file_name)):
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise DocumentRefused("too_large", f"The table has more than {MAX_ROWS:,} rows.")
    except csv.Error as error:
        raise DocumentRefused(
            "damaged", "The table cannot be read: a cell is longer than a million letters."
        ) from error
    block = table(rows)
    return ParsedDocument(blocks=(block,) if block.rows else ())


def _delimiter(text: str, file_name: str) -> str:
    if file_name.lower().endswith(".tsv"):
        return "\t"
    first = text.lstrip("\n")[:_SAMPLE_CHARS].split("\n", 1)[0]
    return max(",;\t|", key=lambda mark: (first.count(mark), mark == ","))
