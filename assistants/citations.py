"""Which passages an answer refers to. Pure.

An answer cites passage n as `[n]`; `[1, 2]` and `[1][2]` are understood too. Code is not looked into: `rows[1]` in a
program refers to no passage.
"""

import re
from collections.abc import Sequence

from assistants.types import Citation

_MARKER = re.compile(r"\[\s*(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\s*\]")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


def used_indices(text: str) -> tuple[int, ...]:
    """The numbers cited in `text`, each once, in the order of first use."""
    found: dict[int, None] = {}
    for match in _MARKER.finditer(_CODE.sub(" ", text)):
        for number in re.split(r"[,;]", match.group(1)):
            found[int(number)] = None
    return tuple(found)


def used_citations(text: str, offered: Sequence[Citation]) -> tuple[Citation, ...]:
    """The offered citations whose number `text` uses, by number. A number that was not offered is no citation."""
    used = set(used_indices(text))
    return tuple(
        citation for citation in sorted(offered, key=lambda each: each.index) if citation.index in used
    )


def without_markers(text: str) -> str:
    """`text` without its `[n]`: in a later turn the numbers would point at other passages. Code stays as it is."""
    pieces = []
    end = 0
    for code in _CODE.finditer(text):
        pieces += [_strip(text[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*pieces, _strip(text[end:])])


def _strip(prose: str) -> str:
    return re.sub(rf"[ \t]?{_MARKER.pattern}", "", prose)
