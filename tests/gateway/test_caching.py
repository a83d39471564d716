"""`cache-control` of a request, and what the answer says of the cache."""

import pytest

from gateway.caching import cache_wish
from routing.types import CacheWish


@pytest.mark.parametrize(
    ("told", "wish"),
    [
        (None, CacheWish()),
        (b"", CacheWish()),
        (b"no-store", CacheWish(read=False, keep=False)),
        (b"No-Cache", CacheWish(read=False)),
        (b"max-age=60", CacheWish(age_s=60)),
        (b"max-age=0", CacheWish(age_s=0)),
        (b"max-age=60, no-cache", CacheWish(read=False, age_s=60)),
        (b"max-age=", CacheWish()),
        (b"max-age=-5", CacheWish()),
        (b"max-age=" + b"9" * 400, CacheWish(age_s=1_000_000)),
        (b"private, \xff", CacheWish()),
    ],
)
def test_the_header_says_what_http_means_by_it(told: bytes | None, wish: CacheWish) -> None:
    assert cache_wish({} if told is None else {b"cache-control": told}) == wish
