"""Copies in memory of knowledge bases' vectors, one matrix each, bounded in bytes and never stale.

A copy knows the stamp of the rows it was made from (count, greatest id, sum of ids). Rows are only added and removed
and their ids are never used again, so equal stamps mean equal rows, whichever process wrote them.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The unit vectors of a knowledge base, one row each, and the rows' ids in rising order."""

    stamp: Stamp
    ids: Ids
    rows: Floats

    @property
    def bytes(self) -> int:
        """What it holds in memory."""
        return int(self.ids.nbytes + self.rows.nbytes)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a matrix comes from: all ids at hand, in rising order, and (id, vector) of those that are still there."""

    ids: Callable[[], Sequence[int]]
    vectors: Callable[[Sequence[int]], Sequence[tuple[int, bytes]]]


class MatrixCache:
    """The least recently searched copies leave first. Used from several threads at once."""

    def __init__(self, *, limit_bytes: int) -> None:
        """Holds `limit_bytes` at most; a larger matrix is used once and not kept."""
        self._limit = limit_bytes
        self._held: OrderedDict[Hashable, Matrix] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Stamp, dimensions: int, source: Source) -> Matrix:
        """The matrix of `key` at `stamp`; of a copy with another stamp only the difference is read anew."""
        with self._lock:
            held = self._held.get(key)
            if held is not None and held.stamp == stamp:
                self._held.move_to_end(key)
                return held
        fresh = _renewed(held, stamp, dimensions, source)
        with self._lock:
            self._held.pop(key, None)
            if fresh.bytes <= self._limit:
                self._held[key] = fresh
            while sum(matrix.bytes for matrix in self._held.values()) > self._limit:
                self._held.popitem(last=False)
        return fresh

    @property
    def bytes(self) -> int:
        """What all copies hold in memory."""
        with self._lock:
            return sum(matrix.bytes for matrix in self._held.values())


def _renewed(held: Matrix | None, stamp: Stamp, dimensions: int, source: Source) -> Matrix:
    ids = np.asarray(source.ids(), dtype=np.int64)
    if held is None:
        return Matrix(stamp, *_read(ids, dimensions, source))
    kept = np.isin(held.ids, ids, assume_unique=True)
    new_ids, new_rows = _read(np.setdiff1d(ids, held.ids, assume_unique=True), dimensions, source)
    ids = np.concatenate([held.ids[kept], new_ids])
    order = np.argsort(ids, kind="stable")
    return Matrix(stamp, ids[order], np.concatenate([held.rows[kept], new_rows])[order])


def _read(ids: Ids, dimensions: int, source: Source) -> tuple[Ids, Floats]:
    """The vectors of `ids` that are still there, read in parts so that only some megabytes are held twice."""
    part = max(1, 8_000_000 // (4 * dimensions))
    found_ids, found = [np.empty(0, dtype=np.int64)], [np.empty((0, dimensions), dtype=np.float32)]
    for start in range(0, len(ids), part):
        pairs = source.vectors(ids[start : start + part].tolist())
        found_ids.append(np.array([row for row, _ in pairs], dtype=np.int64))
        packed = np.frombuffer(b"".join(vector for _, vector in pairs), dtype="<f4")
        found.append(packed.reshape(-1, dimensions).astype(np.float32, copy=False))
    return np.concatenate(found_ids), np.concatenate(found)


def unit_vector(vector: Sequence[float]) -> Floats:
    """`vector` with length one; a zero vector stays zero."""
    array = np.asarray(vector, dtype=np.float32)
    norm = float(np.linalg.norm(array))
    return array / norm if norm > 0 else array
