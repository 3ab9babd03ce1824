from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.contrastive.augment import augmented, centred
from training.contrastive.recipe import Augmentation

STILL = Augmentation(crop=(1.0, 1.0), flip=False, quarter_turns=False)


def picture(height: int, width: int) -> np.ndarray:
    """Every pixel tells its place: red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 7)], axis=2).astype(np.uint8)


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    size=st.integers(1, 40),
    low=st.floats(0.05, 1.0),
    seed=st.integers(0, 1 << 40),
)
def test_any_image_gives_a_square(height: int, width: int, size: int, low: float, seed: int) -> None:
    out = augmented(picture(height, width), size, Augmentation(crop=(low, 1.0)), np.random.default_rng(seed))
    assert out.shape == (size, size, 3)
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    assert centred(picture(height, width), size).shape == (size, size, 3)


@given(seed=st.integers(0, 1 << 40), low=st.floats(0.3, 0.9))
def test_a_crop_covers_the_share_of_the_area_that_was_asked_for(seed: int, low: float) -> None:
    """On a gradient the range of values that is left tells the crop's sides."""
    how = Augmentation(crop=(low, low), flip=False, quarter_turns=False)
    out = augmented(picture(200, 200), 200, how, np.random.default_rng(seed)).astype(int)
    wide, high = (out[..., channel].max() - out[..., channel].min() + 255 / 200 for channel in (0, 1))
    assert wide * high / 255**2 == pytest.approx(low, abs=0.04)


def test_the_eight_orientations_all_occur_and_nothing_else() -> None:
    image = picture(16, 16)
    turned = [np.rot90(side, turns) for side in (image, image[:, ::-1]) for turns in range(4)]
    whole = Augmentation(crop=(1.0, 1.0))
    seen = set()
    for seed in range(80):
        # A stretch cuts a square image a little: the corner colours still tell how it lies.
        out = augmented(image, 16, whole, np.random.default_rng(seed)).astype(int)
        error = [np.abs(out - way.astype(int)).mean() for way in turned]
        seen.add(int(np.argmin(error)))
        assert min(error) < 20
    assert seen == set(range(8))


def test_one_option_changes_only_itself() -> None:
    image = picture(50, 70)
    plain = augmented(image, 32, STILL, np.random.default_rng(4))
    turned = augmented(image, 32, STILL.model_copy(update={"quarter_turns": True}), np.random.default_rng(4))
    assert any(np.array_equal(turned, np.rot90(plain, turns)) for turns in range(4))


def test_evaluation_sees_the_central_square() -> None:
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    assert (centred(image, 20) == 200).all()
    np.testing.assert_array_equal(centred(picture(24, 24), 24), picture(24, 24))
