"""How found chunks are scored and two legs of a search become one order. Pure; floats and numpy arrays alike.

Both vector stores score by this module, so that a knowledge base answers the same in every profile.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from knowledge.types import SearchMode

BM25_K1 = 1.2
BM25_B = 0.75
RRF_K = 60
# Candidates each leg brings to the fusion, whatever the limit: a chunk that only one leg ranks high must be seen.
MIN_CANDIDATES = 100


def candidates(limit: int) -> int:
    """How many candidates each leg brings when `limit` hits are asked for."""
    return max(MIN_CANDIDATES, 2 * limit)


def inverse_document_frequency(matching: int, total: int) -> float:
    """BM25's weight of a term that `matching` of `total` chunks have, in Lucene's form: never negative.

    ln(1 + (N - n + 0.5) / (n + 0.5)), Robertson and Zaragoza 2009, §3.
    """
    return math.log(1 + (total - matching + 0.5) / (matching + 0.5))


def term_weight(
    frequency: Any, length: Any, average_length: float, *, k1: float = BM25_K1, b: float = BM25_B
) -> Any:
    """BM25's saturation of a term's frequency in a chunk of `length` terms. Numbers, or arrays elementwise."""
    return frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * length / max(average_length, 1e-9)))


@dataclass(frozen=True, slots=True)
class Fused:
    """One chunk with its fused score (0–1) and the legs' own scores, None where a leg did not find it."""

    key: UUID
    score: float
    vector_score: float | None
    keyword_score: float | None


def fuse(
    vector: Mapping[UUID, float], keyword: Mapping[UUID, float], *, mode: SearchMode, alpha: float, limit: int
) -> list[Fused]:
    """The best `limit` chunks of two legs, best first, ties by key.

    Each leg is brought to 0–1 by its least and its greatest score (relative score fusion), then weighted: `alpha` for
    vectors, the rest for keywords; a leg that did not find a chunk gives it 0. `mode` VECTOR or KEYWORD uses one leg.
    """
    weight = {SearchMode.VECTOR: 1.0, SearchMode.KEYWORD: 0.0, SearchMode.HYBRID: alpha}[mode]
    near = normalised(vector) if mode is not SearchMode.KEYWORD else {}
    said = normalised(keyword) if mode is not SearchMode.VECTOR else {}
    fused = [
        Fused(
            key,
            weight * near.get(key, 0.0) + (1 - weight) * said.get(key, 0.0),
            vector.get(key) if near else None,
            keyword.get(key) if said else None,
        )
        for key in near.keys() | said.keys()
    ]
    return sorted(fused, key=lambda hit: (-hit.score, hit.key))[:limit]


def normalised(scores: Mapping[UUID, float]) -> dict[UUID, float]:
    """The scores moved and stretched to 0–1; all 1 when they are all the same."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if high - low < 1e-12:
        return dict.fromkeys(scores, 1.0)
    return {key: (score - low) / (high - low) for key, score in scores.items()}


def places(scores: Mapping[UUID, float | None]) -> dict[UUID, int]:
    """Each key's place by score, the greatest first, from 1; what a leg did not find (None) has none."""
    found = [(score, key) for key, score in scores.items() if score is not None]
    order = sorted(found, key=lambda each: (-each[0], each[1]))
    return {key: place for place, (_, key) in enumerate(order, start=1)}


def reciprocal_ranks(*orders: Sequence[UUID], k: int = RRF_K) -> dict[UUID, float]:
    """Reciprocal rank fusion of several orders, best first: Σ 1 / (k + rank) (Cormack et al. 2009).

    Kept for comparison; on the sets of `docs/` relative scores do better.
    """
    scores: dict[UUID, float] = {}
    for order in orders:
        for rank, key in enumerate(order, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (k + rank)
    return scores
