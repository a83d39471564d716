"""The parser process: `python -m knowledge.parsing.child NAME MEDIA_TYPE`, the file on stdin, one JSON on stdout.

It confines itself first, then imports the one parser it needs. Its answer is a ParsedDocument or a Refusal; any other
end (killed, crashed, silent) is the runner's to explain. What libraries print never reaches stdout.
"""

import importlib
import os
import sys
from types import ModuleType

import msgspec

from knowledge.parsing.blocks import DocumentRefused, ParsedDocument, Refusal
from knowledge.parsing.confinement import confine
from knowledge.parsing.sniffing import Format, detect_format

PARSERS = {
    Format.TEXT: "knowledge.parsing.plain_text",
    Format.MARKDOWN: "knowledge.parsing.markdown",
    Format.HTML: "knowledge.parsing.web_page",
    Format.PDF: "knowledge.parsing.pdf",
    Format.DOCX: "knowledge.parsing.word",
    Format.CSV: "knowledge.parsing.comma_separated",
}
_EMPTY = Refusal(code="empty", reason="The document holds no text.")
_TOO_COMPLEX = Refusal(code="too_large", reason="Reading the document takes more memory than allowed.")
_TOO_DEEP = Refusal(code="too_complex", reason="The document is nested too deeply to be read.")


def read_document(content: bytes, file_name: str, media_type: str) -> ParsedDocument | Refusal:
    """Find the format and parse."""
    try:
        kind = detect_format(content, file_name, media_type)
        parser: ModuleType = importlib.import_module(PARSERS[kind])
        document: ParsedDocument = parser.parse(content, file_name)
    except DocumentRefused as error:
        return error.refusal
    except MemoryError:
        return _TOO_COMPLEX
    except RecursionError:
        return _TOO_DEEP
    return document if document.blocks else _EMPTY


def main() -> None:
    """Confine, read, answer."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    parent = os.environ.get("PARSER_PARENT")
    confine(parent=int(parent) if parent else None)
    file_name, media_type = [*sys.argv[1:3], "", ""][:2]
    outcome = read_document(sys.stdin.buffer.read(), file_name, media_type)
    answer.write(msgspec.json.encode(outcome))
    answer.flush()


if __name__ == "__main__":
    main()
