"""What a server does with its memory once all that stays is loaded."""

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

# Objects made since the last look before the collector looks again (Python's default is 700).
YOUNG_OBJECTS = 10_000
HUGE_PAGE = 2 * 1024 * 1024
# Of `madvise(2)`: ask for huge pages, and (since Linux 6.1) make them of what is there now. `mmap` knows the first alone.
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
# Memory of the process's own, of no file: the allocators' arenas and the heap.
_OWN = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0\s*(?:\[heap\])?$", re.MULTILINE)


def settle_memory() -> None:
    """What is loaded by now stays: the collector need not look at it again, nor as often at what comes.

    Measured: an eighth of the data plane's processor time, and the longest pauses.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    if sys.platform == "linux":
        log.info("memory_settled", huge_pages=_use_huge_pages())


def _use_huge_pages() -> int:
    """Put the memory that is there on huge pages, as far as the kernel lets us; how many.

    A request comes by so much memory that the processor cannot keep where all its small pages are (see
    docs/benchmarks/gateway.md). Where huge pages are off, or the kernel is older, nothing changes.
    """
    made = 0
    try:
        madvise = ctypes.CDLL(None, use_errno=True).madvise
        maps = Path("/proc/self/maps").read_text()
    except (OSError, AttributeError):
        return made
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, length in whole_huge_pages(maps):
        if madvise(start, length, _MADV_HUGEPAGE) == 0 and madvise(start, length, _MADV_COLLAPSE) == 0:
            made += length // HUGE_PAGE
    return made


def whole_huge_pages(maps: str) -> Iterator[tuple[int, int]]:
    """Start and length of each stretch of whole huge pages within the process's own memory, of `/proc/self/maps`."""
    for begin, end in _OWN.findall(maps):
        start = -(-int(begin, 16) // HUGE_PAGE) * HUGE_PAGE
        length = int(end, 16) // HUGE_PAGE * HUGE_PAGE - start
        if length > 0:
            yield start, length
