"""API keys as text: `atr_<prefix>_<secret><check>`, in characters that an HTTP token allows.

The prefix (10 characters) finds the row, the secret (40 base62 characters, 238 bits) proves the holder, the check
(CRC32 of everything before it, 6 base62 characters) lets scanners and this server see a mistyped key without asking
a database.
"""

import re
import secrets
import string
import zlib
from dataclasses import dataclass

MARK = "atr"
PREFIX_LENGTH = 10
SECRET_LENGTH = 40
CHECK_LENGTH = 6
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_DIGITS = {character: digit for digit, character in enumerate(_ALPHABET)}
_KEY = re.compile(rf"{MARK}_([0-9A-Za-z]{{{PREFIX_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECK_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key: its prefix and its whole text."""

    prefix: str
    key: str


def make_key() -> NewKey:
    """A fresh random key."""
    prefix = _random(PREFIX_LENGTH)
    body = f"{MARK}_{prefix}_{_random(SECRET_LENGTH)}"
    return NewKey(prefix, body + checksum(body))


def prefix_of(key: str) -> str | None:
    """The prefix of a well-formed key with the right check, else None. Constant work, no database."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    number = 0
    for character in key[-CHECK_LENGTH:]:
        number = number * len(_ALPHABET) + _DIGITS[character]
    return match[1] if number == zlib.crc32(key[:-CHECK_LENGTH].encode("ascii")) else None


def checksum(body: str) -> str:
    """CRC32 of `body` as six base62 digits, the most significant first."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
