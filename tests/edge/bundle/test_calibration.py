"""Calibration: what is read is what was written, and nothing that makes no sense is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.calibration import Calibration, load_calibration
from edge.bundle.load import load_bundle, write_manifest
from firmware_cfg.errors import BundleError


def make_calibration() -> Calibration:
    chance = np.random.default_rng(1)
    return Calibration(
        chance.normal(size=(5, 8)).astype(np.float16).astype(np.float32),
        chance.normal(size=(3, 6)).astype(np.float16).astype(np.float32),
        (1.5, -0.25),
        (12.0, -3.0),
        0.001,
        0.02,
    )


def test_calibration_survives_the_disk(tmp_path: Path) -> None:
    written = make_calibration()
    written.save(tmp_path / "calibration.npz")
    read = load_calibration(tmp_path / "calibration.npz", 6, 2)
    np.testing.assert_array_equal(read.null_cells, written.null_cells)
    np.testing.assert_array_equal(read.null_scenes, written.null_scenes)
    assert (read.platt_object, read.platt_scene) == ((1.5, -0.25), (12.0, -3.0))
    assert (read.false_alarm_rate_object, read.false_alarm_rate_scene) == (0.001, 0.02)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_scores_are_the_logistic_function_and_never_leave_their_range(margins: list[float]) -> None:
    calibration = make_calibration()
    given_margins = np.array(margins, np.float32)
    score = calibration.object_score(given_margins)
    exact = 1 / (1 + np.exp(-np.clip(1.5 * given_margins.astype(np.float64) - 0.25, -700, 700)))
    assert ((score >= 0) & (score <= 1)).all()
    np.testing.assert_allclose(score, exact, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"null_cells": np.zeros((4, 7), np.float16)}, r"null_cells is float16 \(4, 7\), expected .* 8\)"),
        ({"null_cells": np.zeros((0, 8), np.float16)}, "null_cells"),
        ({"null_cells": np.full((4, 8), np.nan, np.float16)}, "null_cells holds numbers that are not finite"),
        ({"null_scenes": np.zeros((4, 8), np.int8)}, "null_scenes is int8"),
        ({"platt_object": np.array([-1.0, 0.0])}, "platt_object has slope -1"),
        ({"platt_object": np.array([1.0, np.inf])}, "platt_object must be two finite numbers"),
        ({"platt_scene": np.array([1.0])}, "platt_scene must be two finite numbers"),
        ({"platt_scene": np.array(["1", "2"])}, "platt_scene must be two finite numbers"),
        (
            {"false_alarm_rate_object": np.float64(0)},
            "false_alarm_rate_object must be one number between 0 and 1",
        ),
        ({"false_alarm_rate_scene": np.array([0.1])}, "false_alarm_rate_scene must be one number"),
        ({"false_alarm_rate_scene": None}, "false_alarm_rate_scene is not a file in the archive"),
        ({"null_cells": np.array([object()])}, "Object arrays cannot be loaded"),
    ],
)
def test_numbers_that_make_no_sense_are_named(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    path = tmp_path / "calibration.npz"
    make_calibration().save(path)
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(BundleError, match=rf"calibration\.npz: unusable calibration: .*{problem}.*compile"):
        load_calibration(path, 6, 2)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "bit", "npy"])
def test_a_damaged_calibration_in_a_bundle_with_matching_hashes_is_one_line(
    bundle_copy: Path, manifest_fields: dict[str, Any], damage: str
) -> None:
    path = bundle_copy / "calibration.npz"
    data = path.read_bytes()
    middle = len(data) // 2
    if damage == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b"null_cells",
                "half": data[:middle],
                "bit": data[:2000] + bytes([data[2000] ^ 0xFF]) + data[2001:],
            }[damage]
        )
    write_manifest(bundle_copy, manifest_fields)
    with pytest.raises(BundleError, match=r"calibration\.npz: unusable calibration") as caught:
        load_bundle(bundle_copy)
    assert "\n" not in str(caught.value)
