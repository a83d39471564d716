"""Text without the characters that people do not see but models read. Pure.

Documents can smuggle orders to a model in characters that no reader sees: tag characters, bidi overrides, zero-width
letters, variation selectors. They are taken out of what goes into a prompt; the stored text stays as it is.
"""

import re
import unicodedata

# Default_Ignorable_Code_Point of Unicode and what renders as nothing, beside the categories below.
_INVISIBLE = {
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0,
    *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000),
}  # fmt: skip
_KEPT_CONTROLS = "\n\t"
_JOINERS = "\u200c\u200d"
# Persian, Indic scripts and emoji need joiners between their letters; anywhere else they only hide something.
_STRAY_JOINER = re.compile(
    r"(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f\u200c\u200d])"
)


def visible_text(text: str) -> str:
    """`text` without invisible, bidirectional-control, tag, private and unassigned characters."""
    if text.isascii() and text.isprintable():
        return text
    kept = "".join(character for character in text.replace("\r\n", "\n") if _is_visible(character))
    return _STRAY_JOINER.sub("", kept)


def _is_visible(character: str) -> bool:
    if character in _KEPT_CONTROLS or character in _JOINERS:
        return True
    return ord(character) not in _INVISIBLE and unicodedata.category(character) not in (
        "Cc",
        "Cf",
        "Cn",
        "Co",
        "Cs",
    )
