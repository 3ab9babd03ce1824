"""Blind pairs, worked by hand, and what the gate says of a variant that loses some."""

from __future__ import annotations

import numpy as np
import pytest

from compile.gate.limits import LIMITS, problems_of
from compile.gate.pairs import answered, blind_pairs
from edge.bundle.manifest import Gate

ROWS = np.array([[1, 0], [0.99, 0.1411], [0.8, 0.6], [0, 1]], np.float32)


def test_every_image_is_paired_with_its_nearest_of_other_sentences() -> None:
    assert blind_pairs(ROWS, [("a",), ("b",), ("c",), ("d",)]).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert blind_pairs(ROWS, [("a", "x"), ("x", "b"), ("c",), ("d",)]).tolist() == [[0, 2], [1, 2], [2, 3]]
    assert blind_pairs(ROWS, [("a",)] * 4).shape == (0, 2)


def test_a_pair_is_told_apart_if_both_sentences_find_their_image() -> None:
    pairs = np.array([[0, 3], [1, 2]])
    assert answered(ROWS, ROWS, pairs).tolist() == [True, True]
    assert answered(ROWS, ROWS[[0, 2, 2, 3]], pairs).tolist() == [True, False]  # both say the second
    assert answered(ROWS[[0, 0, 0, 3]], ROWS, pairs).tolist() == [True, False]  # equally similar: not told


@pytest.mark.parametrize(
    ("pairs", "after", "chance", "passes"),
    [(20, 0.75, 0.0, True), (20, 0.7, 0.0, False), (20, 0.7, 0.1, True), (400, 0.79, 0.005, False)],
)
def test_pair_accuracy_may_not_fall_beyond_its_interval(
    pairs: int, after: float, chance: float, passes: bool
) -> None:
    gate = Gate(
        probe="made up",
        engine="openvino",
        images=40,
        cosine_mean=1,
        cosine_min=1,
        places=0,
        blind_pairs=pairs,
        pair_accuracy_reference=0.8,
        pair_accuracy=after,
        pair_accuracy_chance=chance,
        passed=True,
    )
    problems = problems_of(gate, LIMITS["int8"])
    assert (problems == ()) is passes
    assert all("pair accuracy fell from 80.0%" in problem for problem in problems)


def test_a_manifest_from_before_blind_pairs_still_reads() -> None:
    old = {"probe": "shipped", "engine": "openvino", "images": 41, "cosine_mean": 1, "cosine_min": 1}
    gate = Gate.model_validate({**old, "places": 0, "passed": True})
    assert (gate.blind_pairs, gate.pair_accuracy) == (0, None)
    assert problems_of(gate, LIMITS["int8"]) == ()
