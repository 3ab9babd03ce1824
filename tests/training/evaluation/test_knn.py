from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.knn import vote


@given(st.integers(0, 1000), st.sampled_from([0.07, 0.5]))
def test_votes_are_those_of_a_loop_over_neighbours(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(25, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery, queries, labels = rows[:20], rows[20:], rng.integers(0, 3, 20)
    found = vote(queries, gallery, labels, 3, [1, 3, 50], temperature)
    for k in (1, 3, 50):
        for query, answer in zip(queries, found[k], strict=True):
            near = sorted(range(20), key=lambda i: -float(query @ gallery[i]))[:k]
            votes = [
                sum(np.exp(float(query @ gallery[i]) / temperature) for i in near if labels[i] == c)
                for c in range(3)
            ]
            assert votes[answer] == pytest.approx(max(votes), rel=1e-4)


def test_a_low_temperature_does_not_overflow() -> None:
    gallery = np.eye(2, dtype=np.float32)
    found = vote(gallery, gallery, np.array([1, 0]), 2, [2], 1e-3)
    assert found[2].tolist() == [1, 0]
