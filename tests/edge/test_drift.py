"""The drift gauge against a bank whose shape is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.calibration import Calibration
from edge.bundle.load import load_bundle
from edge.drift import ALARM, NEIGHBOURS, DriftGauge, drift_line


def bank(scenes: np.ndarray) -> Calibration:
    return Calibration(np.zeros((1, 4), np.float32), scenes.astype(np.float32), (1, 0), (1, 0), 0.1, 0.1)


def around(axis: int, count: int, spread: float, seed: int = 0) -> np.ndarray:
    """(count, 16) unit vectors round an axis."""
    rows = np.random.default_rng(seed).normal(0, spread, (count, 16)) + np.eye(16)[axis]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_home_ground_lies_in_the_middle_and_other_ground_at_the_end():
    gauge = DriftGauge(bank(around(0, 400, 0.1)), window=200)
    for frame in around(0, 200, 0.1, seed=1):
        gauge.take(frame)
    assert gauge.value == pytest.approx(0.5, abs=0.1)
    assert gauge.median == pytest.approx(gauge.value, abs=0.01)
    for frame in around(1, 150, 0.1, seed=2):
        gauge.take(frame)
    assert gauge.value > 0.8
    assert gauge.median < 1.0  # the flight as a whole remembers where it began


def test_a_picture_of_the_bank_scores_as_the_reference_says():
    scenes = around(0, 60, 0.3)
    probe = around(2, 1, 0.5)[0]

    def nearness(rows: np.ndarray, one: np.ndarray) -> float:
        return float(np.mean(sorted(rows @ one)[-NEIGHBOURS:]))

    own = [nearness(np.delete(scenes, i, 0), scenes[i]) for i in range(len(scenes))]
    expected = np.mean([each >= nearness(scenes, probe) for each in own])
    assert DriftGauge(bank(scenes)).take(probe) == pytest.approx(expected, abs=1e-6)


def test_one_odd_frame_moves_nothing():
    gauge = DriftGauge(bank(around(0, 200, 0.1)))
    for frame in around(0, 30, 0.1, seed=3):
        gauge.take(frame)
    before = gauge.value
    assert gauge.take(-around(0, 1, 0.1)[0]) == 1.0
    assert abs(gauge.value - before) < 0.2


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=16, max_size=16))
def test_the_value_is_a_share_whatever_comes(numbers):
    gauge = DriftGauge(bank(around(0, 40, 0.2)))
    share = gauge.take(np.array(numbers, np.float32))
    assert gauge.value == share
    assert share is None or 0 <= share <= 1


@pytest.mark.parametrize("embedding", [np.zeros(16, np.float32), np.full(16, np.nan, np.float32)])
def test_what_is_no_embedding_is_left_out(embedding):
    gauge = DriftGauge(bank(around(0, 40, 0.2)))
    assert gauge.take(embedding) is None
    assert gauge.value is None
    assert gauge.median is None


def test_a_bundle_with_hardly_any_null_scenes_has_no_gauge():
    gauge = DriftGauge(bank(around(0, 6, 0.2)))
    assert gauge.take(around(0, 1, 0.1)[0]) is None
    assert gauge.value is None


def test_half_of_the_shipped_bank_is_neither_near_nor_odd_to_the_other():
    calibration = load_bundle("default").calibration
    scenes = calibration.null_scenes[np.random.default_rng(0).permutation(len(calibration.null_scenes))]
    half = len(scenes) // 2
    gauge = DriftGauge(replace(calibration, null_scenes=scenes[:half]), window=len(scenes))
    for scene in scenes[half:]:
        gauge.take(scene)
    assert gauge.value == pytest.approx(0.5, abs=0.1)
    rng = np.random.default_rng(0)
    for _ in range(600):
        gauge.take(rng.normal(size=256).astype(np.float32))
    assert gauge.value > ALARM


def test_the_line_says_which_side_of_the_alarm():
    assert "out of the model's terrain" in drift_line(ALARM)
    assert drift_line(ALARM - 0.01) == "drift 0.94"
