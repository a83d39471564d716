"""Scores and their fusion."""

import math
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.scoring import fuse, inverse_document_frequency, normalised, reciprocal_ranks, term_weight
from knowledge.types import SearchMode

A, B, C = (uuid.UUID(int=number) for number in (1, 2, 3))
SCORES = st.dictionaries(
    st.sampled_from([uuid.UUID(int=n) for n in range(20)]), st.floats(-5, 50), max_size=20
)


def test_relative_scores_are_weighted_by_alpha() -> None:
    vector, keyword = {A: 0.9, B: 0.5}, {B: 12.0, C: 4.0}
    hits = fuse(vector, keyword, mode=SearchMode.HYBRID, alpha=0.6, limit=10)
    assert [(hit.key, round(hit.score, 3)) for hit in hits] == [(A, 0.6), (B, 0.4), (C, 0.0)]
    assert (hits[0].vector_score, hits[0].keyword_score) == (0.9, None)
    assert (hits[1].vector_score, hits[1].keyword_score) == (0.5, 12.0)


def test_a_single_leg_counts_alone() -> None:
    vector, keyword = {A: 0.9}, {B: 12.0}
    assert [hit.key for hit in fuse(vector, keyword, mode=SearchMode.VECTOR, alpha=0.0, limit=5)] == [A]
    assert [hit.key for hit in fuse(vector, keyword, mode=SearchMode.KEYWORD, alpha=1.0, limit=5)] == [B]


@settings(max_examples=50)
@given(SCORES, SCORES, st.floats(0, 1), st.integers(1, 30))
def test_fusion_is_ordered_bounded_and_repeatable(
    vector: dict[uuid.UUID, float], keyword: dict[uuid.UUID, float], alpha: float, limit: int
) -> None:
    hits = fuse(vector, keyword, mode=SearchMode.HYBRID, alpha=alpha, limit=limit)
    assert hits == fuse(vector, keyword, mode=SearchMode.HYBRID, alpha=alpha, limit=limit)
    assert len(hits) == min(limit, len(vector.keys() | keyword.keys()))
    assert all(-1e-9 <= hit.score <= 1 + 1e-9 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_equal_scores_are_all_the_best() -> None:
    assert normalised({A: 3.0, B: 3.0}) == {A: 1.0, B: 1.0}
    assert normalised({}) == {}


def test_bm25_is_the_published_formula() -> None:
    """Robertson and Zaragoza: tf 2 in a text of average length, 3 of 100 texts have the term."""
    assert inverse_document_frequency(3, 100) == pytest.approx(math.log(1 + 97.5 / 3.5))
    assert term_weight(2.0, 80.0, 80.0) == pytest.approx(2 * 2.2 / 3.2)
    assert inverse_document_frequency(100, 100) > 0
    both = term_weight(np.array([1.0, 5.0]), np.array([80.0, 80.0]), 80.0)
    assert both[1] > both[0]
    assert term_weight(1.0, 40.0, 80.0) > term_weight(1.0, 160.0, 80.0)


def test_reciprocal_ranks_prefer_what_both_orders_have() -> None:
    scores = reciprocal_ranks([A, B], [B, C])
    assert max(scores, key=scores.__getitem__) == B
    assert scores[A] == pytest.approx(1 / 61)
