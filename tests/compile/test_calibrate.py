from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compile.calibrate import _ignored, _near, _sample, calibrate, platt
from firmware_cfg.errors import RemoteclipError, UsageError
from training.checkpoint import Checkpoint, ModelSpec
from training.models.lite import LiteImageTower
from training.models.text import TextTower
from training.recipe import default_recipe, load_recipe
from training.samples import object_sample


def drawn_outcomes(slope: float, offset: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    value = rng.normal(0, 2, count)
    return value, rng.random(count) < 1 / (1 + np.exp(-(slope * value + offset)))


def test_platt_recovers_the_slope_that_made_the_data() -> None:
    slope, offset = platt(*drawn_outcomes(1.7, -0.8))
    assert slope == pytest.approx(1.7, rel=0.05)
    assert offset == pytest.approx(-0.8, abs=0.06)


def test_a_balanced_fit_puts_one_half_between_the_outcomes() -> None:
    rng = np.random.default_rng(1)
    value = np.concatenate([rng.normal(0.0, 1, 9000), rng.normal(2.0, 1, 1000)])
    right = np.arange(10_000) >= 9000
    slope, offset = platt(value, right, balanced=True)
    assert -offset / slope == pytest.approx(1.0, abs=0.1)
    slope, offset = platt(value, right)
    assert -offset / slope > 1.7  # rare, so it takes more to be likely


def test_a_score_that_falls_where_it_should_rise_is_refused() -> None:
    value, right = drawn_outcomes(-1.0, 0.0)
    with pytest.raises(RemoteclipError, match="train it longer"):
        platt(value, right)


def test_a_place_is_right_on_an_object_of_its_class_within_half_its_size() -> None:
    sample = object_sample(Path("a"), [(100, 100, 140, 120), (300, 300, 300, 300)], [1, 0])
    centres = np.array([[120, 110], [139, 119], [141, 110], [120, 121], [309, 300], [317, 300]], np.float32)
    near = _near(centres, sample, [0, 1], cell=16)
    assert near[:, 1].tolist() == [True, True, False, True, False, False]  # half of 20 px is less than a cell
    assert near[:, 0].tolist() == [False, False, False, False, True, False]


def test_open_regions_are_no_background() -> None:
    sample = object_sample(Path("a"), [], [], [(10, 10, 20, 20)])
    centres = np.array([[15, 15], [25, 15]], np.float32)
    assert _ignored(centres, sample).tolist() == [True, False]
    assert _ignored(centres, object_sample(Path("a"), [], [])).tolist() == [False, False]


def test_a_bank_is_thinned_without_repetition() -> None:
    bank = np.arange(50, dtype=np.float32)[:, None]
    chosen = _sample(bank, 20, np.random.default_rng(0))
    assert len(np.unique(chosen)) == 20
    np.testing.assert_array_equal(_sample(bank, 100, np.random.default_rng(0)), bank)


def test_the_shipped_fit_of_whole_images_is_not_lent_to_another_space(tmp_path: Path) -> None:
    spec = ModelSpec(1, "remoteclip-lite0", "tf_efficientnet_lite0", "all-MiniLM-L6-v2", 32, 24, "research")
    tower, text = LiteImageTower(32, 24, pretrained=False).eval(), TextTower(32).eval()
    checkpoint = Checkpoint(spec, tower, text, "0" * 64, {}, "")
    recipe = load_recipe(default_recipe()).model_copy(update={"caption_sets": []})
    with pytest.raises(UsageError, match=r"256 wide, not 32 \(give it caption_sets\)"):
        calibrate(checkpoint, recipe, tmp_path, ((640, 384),))
