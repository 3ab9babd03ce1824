"""Rectification: an affine map of a prompt's embedding, kept in a file of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.prompts.rectification import Rectification, load_rectification
from firmware_cfg.errors import BundleError

WEIGHT = np.array([[1, 0, 2], [0, -1, 0.5]], np.float32)
OFFSET = np.array([0.25, 0, -1], np.float32)


def test_bias_and_position_follow_from_the_embedding() -> None:
    bias, position = Rectification(WEIGHT, OFFSET).fill(np.array([[1, 0], [0.6, 0.8]], np.float32))
    np.testing.assert_allclose(bias, [1.25, 0.85], rtol=1e-6)
    np.testing.assert_allclose(position, [[0, 1], [-0.8, 0.6]], rtol=1e-6)
    assert bias.dtype == position.dtype == np.float32


def test_it_is_kept_in_a_file(tmp_path: Path) -> None:
    Rectification(WEIGHT, OFFSET).save(tmp_path / "rectification.npz")
    again = load_rectification(tmp_path / "rectification.npz", 2, 2)
    assert (again.embedding_width, again.position_width) == (2, 2)
    np.testing.assert_array_equal(again.weight, WEIGHT)
    np.testing.assert_array_equal(again.offset, OFFSET)


@pytest.mark.parametrize(
    ("weight", "offset", "problem"),
    [
        (WEIGHT.T, OFFSET, r"weight is float32 \(3, 2\), expected floats of shape \(2, 3\)"),
        (WEIGHT, OFFSET[:2], r"offset is float32 \(2,\)"),
        (WEIGHT * np.float32("nan"), OFFSET, "at most 100 makes sense"),
        (WEIGHT, OFFSET * 1000, "could give a prompt 1002.06, at most 100"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, weight: np.ndarray, offset: np.ndarray, problem: str
) -> None:
    file = tmp_path / "rectification.npz"
    np.savez(file, weight=weight, offset=offset)
    with pytest.raises(BundleError, match=problem):
        load_rectification(file, 2, 2)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "rectification.npz"
    file.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(BundleError, match=r"rectification\.npz: unusable rectification: .*train rectify"):
        load_rectification(file, 2, 2)
