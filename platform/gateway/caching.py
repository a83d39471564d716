"""What a caller says of answers that were given before, by the header that HTTP has for it."""

from collections.abc import Mapping

from routing.types import CacheWish

_NOTHING_SAID = CacheWish()
# Longer than any answer is kept.
LONGEST_S = 10**6


def cache_wish(headers: Mapping[bytes, bytes]) -> CacheWish:
    """The wish of `cache-control`: `no-store`, `no-cache`, `max-age=SECONDS`. What is not understood is passed over."""
    told = headers.get(b"cache-control")
    if told is None:
        return _NOTHING_SAID
    read = keep = True
    age_s: int | None = None
    for part in told.lower().split(b","):
        name, _, value = part.strip().partition(b"=")
        if name == b"no-store":
            read = keep = False
        elif name == b"no-cache":
            read = False
        elif name == b"max-age" and value.isdigit():
            age_s = min(int(value[:9]), LONGEST_S)
    return CacheWish(read=read, keep=keep, age_s=age_s)
