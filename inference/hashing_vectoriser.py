"""The embedder of last resort: words and their pieces hashed into a fixed number of places. Lexical, not semantic.

Each word and each of its letter trigrams adds ±1 to one place (the sign by another bit of the hash, so that
collisions cancel on average), weighted by 1 + log of its count; vectors have length 1. Texts that share words or parts of words are
near to each other, nothing else is. Pure.
"""

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inference.embedders import DIMENSIONS

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
# A word says more than each of its pieces.
_PIECE_WEIGHT = 0.35


def hash_vectors(texts: Sequence[str], *, dimensions: int = DIMENSIONS) -> npt.NDArray[np.float32]:
    """One vector of length 1 for each text (of zeros for one without words), float32, (texts, dimensions)."""
    vectors = np.zeros((len(texts), dimensions), dtype=np.float32)
    for row, text in enumerate(texts):
        for feature, count in _features(text).items():
            hashed = zlib.crc32(feature.encode("utf-8", "replace"))
            weight = (1.0 + math.log(count)) * (1.0 if feature[0] == "w" else _PIECE_WEIGHT)
            vectors[row, hashed % dimensions] += weight if hashed & 0x8000_0000 else -weight
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = 1.0
    vectors /= lengths
    return vectors


def _features(text: str) -> Counter[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    found: Counter[str] = Counter()
    for word in _WORD.findall(folded):
        found[f"w{word}"] += 1
        edged = f"<{word}>"
        for start in range(len(edged) - 2):
            found[f"p{edged[start : start + 3]}"] += 1
    return found


def count_words(texts: Sequence[str]) -> int:
    """Words of the texts: what stands for tokens here."""
    return sum(len(_WORD.findall(text)) for text in texts)
