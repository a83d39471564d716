"""Filters of SCIM (RFC 7644 §3.4.2.2) as trees: read with bounds, and never with more power than the attributes given.

filter  = and *("or" and) ; and = term *("and" term) ; term = ["not"] "(" filter ")" | attribute "pr" | attribute op value
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from tenants.scim.errors import InvalidFilter

LONGEST = 2_000
MOST_TERMS = 50
DEEPEST = 10
OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "pr"})
URN = re.compile(r"^urn:ietf:params:scim:schemas:core:2\.0:(?:user|group):", re.IGNORECASE)
_TOKEN = re.compile(
    r"\s*(?:(?P<bracket>[()])|(?P<text>\"(?:[^\"\\]|\\.)*\")|(?P<word>[A-Za-z$][\w.:$-]*(?:\[[^\]]*\][\w.]*)?))"
)


@dataclass(frozen=True, slots=True)
class Compare:
    """One attribute against one value; `value` is None for `pr`. Attributes are in lower case."""

    attribute: str
    operator: str
    value: str | bool | None


@dataclass(frozen=True, slots=True)
class Both:
    """Left and right."""

    left: "Filter"
    right: "Filter"


@dataclass(frozen=True, slots=True)
class Either:
    """Left or right."""

    left: "Filter"
    right: "Filter"


@dataclass(frozen=True, slots=True)
class Opposite:
    """Not that."""

    inner: "Filter"


Filter = Compare | Both | Either | Opposite


def read_filter(text: str, attributes: Collection[str]) -> Filter:
    """The tree of a filter over these `attributes` (lower case). Raises InvalidFilter."""
    if len(text) > LONGEST:
        raise InvalidFilter(f"A filter has at most {LONGEST} characters.")
    reader = _Reader(_tokens(text), attributes)
    found = reader.either(0)
    if reader.next is not None:
        raise InvalidFilter(f"Nothing was expected at {reader.next!r}.")
    return found


def _tokens(text: str) -> list[str]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise InvalidFilter(f"The filter cannot be read from {text[at : at + 20]!r} on.")
        found.append(match.group().strip())
        at = match.end()
    return found


class _Reader:
    """Reads tokens from left to right, one ahead."""

    def __init__(self, tokens: list[str], attributes: Collection[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._terms = 0
        self._attributes = attributes

    @property
    def next(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def take(self) -> str:
        if self.next is None:
            raise InvalidFilter("The filter ends too early.")
        self._at += 1
        return self._tokens[self._at - 1]

    def word(self, wanted: str) -> bool:
        if self.next is None or self.next.lower() != wanted:
            return False
        self._at += 1
        return True

    def either(self, depth: int) -> Filter:
        found = self.both(depth)
        while self.word("or"):
            found = Either(found, self.both(depth))
        return found

    def both(self, depth: int) -> Filter:
        found = self.term(depth)
        while self.word("and"):
            found = Both(found, self.term(depth))
        return found

    def term(self, depth: int) -> Filter:
        self._terms += 1
        if depth > DEEPEST or self._terms > MOST_TERMS:
            raise InvalidFilter("The filter is too large.")
        opposite = self.word("not")
        if self.word("("):
            found = self.either(depth + 1)
            if not self.word(")"):
                raise InvalidFilter("A bracket is not closed.")
            return Opposite(found) if opposite else found
        if opposite:
            raise InvalidFilter("After `not` a bracket is expected.")
        return self.comparison()

    def comparison(self) -> Compare:
        attribute = URN.sub("", self.take()).lower()
        if attribute not in self._attributes:
            raise InvalidFilter(f"{attribute[:60]!r} cannot be filtered by.")
        operator = self.take().lower()
        if operator not in OPERATORS:
            raise InvalidFilter(f"{operator[:20]!r} is no operator that is supported here.")
        if operator == "pr":
            return Compare(attribute, operator, None)
        return Compare(attribute, operator, _value(self.take()))


def _value(token: str) -> str | bool:
    if token.lower() in ("true", "false"):
        return token.lower() == "true"
    if not token.startswith('"'):
        raise InvalidFilter(f"{token[:40]!r} is no value: texts stand in quotation marks.")
    try:
        found = json.loads(token)
    except ValueError as error:
        raise InvalidFilter(f"{token[:40]!r} is no text.") from error
    # A database refuses it.
    if "\x00" in found:
        raise InvalidFilter("A text holds a NUL character.")
    return str(found)
