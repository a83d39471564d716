"""Markdown by lines: headings, fenced code, tables, paragraphs and lists. Inline marks stay as they are written."""

import re

from knowledge.parsing.blocks import Block, ParsedDocument, clean, code, heading, paragraph, table
from knowledge.parsing.plain_text import decode

_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-+)\s*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$")
# Settings between rules at the very start: `key: value` lines, lists and comments, nothing that reads as text.
_FRONT_MATTER = re.compile(r"\A---\n((?:[A-Za-z_][\w-]*:.*\n|[ \t-].*\n|#.*\n|\n)*?)(?:---|\.\.\.)\n")
_FRONT_TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)


def parse(content: bytes, file_name: str) -> ParsedDocument:
    """The document; its title is the front matter's, else the first heading of level one."""
    text = clean(decode(content))
    title = ""
    front = _FRONT_MATTER.match(text)
    if front:
        found = _FRONT_TITLE.search(front.group(1))
        title = found.group(1) if found else ""
        text = text[front.end() :]
    blocks = _Reader(text.split("\n")).read()
    if not title:
        title = next((block.text for block in blocks if block.level == 1), "")
    return ParsedDocument(title=title, blocks=tuple(blocks))


class _Reader:
    """Walks the lines once; `_gathered` is the paragraph being read."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self._gathered: list[str] = []
        self._blocks: list[Block] = []

    def read(self) -> list[Block]:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if _FENCE.match(line):
                self._read_fence(line)
            elif marked := _HEADING.match(line):
                self._flush()
                self._add_heading(marked.group(2), len(marked.group(1)))
                self._at += 1
            elif self._is_underlined():
                text, mark = "\n".join(self._gathered), self._lines[self._at].strip()[0]
                self._gathered = []
                self._add_heading(text, 1 if mark == "=" else 2)
                self._at += 1
            elif self._starts_table():
                self._read_table()
            else:
                self._read_line(line)
        self._flush()
        return self._blocks

    def _add_heading(self, text: str, level: int) -> None:
        if text.strip():
            self._blocks.append(heading(text, level))

    def _is_underlined(self) -> bool:
        marked = _UNDERLINE.match(self._lines[self._at])
        return bool(marked and len(self._gathered) == 1 and len(marked.group(1)) > 1)

    def _starts_table(self) -> bool:
        following = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else ""
        return "|" in self._lines[self._at] and "-" in following and bool(_TABLE_RULE.match(following))

    def _read_fence(self, line: str) -> None:
        self._flush()
        opened = _FENCE.match(line)
        mark = opened.group(1) if opened else "```"
        inside: list[str] = []
        self._at += 1
        while self._at < len(self._lines):
            current = self._lines[self._at]
            self._at += 1
            if current.strip().startswith(mark) and not current.strip().strip(mark[0]):
                break
            inside.append(current)
        block = code("\n".join(inside))
        if block.text:
            self._blocks.append(block)

    def _read_table(self) -> None:
        self._flush()
        rows = [_cells(self._lines[self._at])]
        self._at += 2
        while self._at < len(self._lines) and "|" in self._lines[self._at]:
            rows.append(_cells(self._lines[self._at]))
            self._at += 1
        self._blocks.append(table(rows))

    def _read_line(self, line: str) -> None:
        if line.strip():
            self._gathered.append(line)
        else:
            self._flush()
        self._at += 1

    def _flush(self) -> None:
        if self._gathered:
            self._blocks.append(paragraph("\n".join(self._gathered)))
            self._gathered = []


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]
