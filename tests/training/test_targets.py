from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.augment import Crop
from training.models.lite import STRIDE, decode_boxes
from training.targets import area_target, object_target


def crop_with(
    centres: list[tuple[float, float]],
    sizes: list[tuple[float, float]],
    labels: list[int],
    ignored: list[tuple[float, float, float, float]] = (),
    mask: np.ndarray | None = None,
) -> Crop:
    return Crop(
        np.zeros((96, 96, 3), np.uint8),
        np.array(centres, np.float32).reshape(-1, 2),
        np.array(sizes, np.float32).reshape(-1, 2),
        np.array(labels, np.int64),
        np.array(ignored, np.float32).reshape(-1, 4),
        mask,
    )


def test_an_object_is_a_gaussian_of_a_sixth_of_its_size() -> None:
    target = object_target(crop_with([(44, 20)], [(96, 48)], [1]), 2)
    assert target.heat.shape == (2, 12, 12)
    assert not target.heat[0].any()
    assert target.heat[1, 2, 5] == 1.0
    assert (target.heat == 1).sum() == 1
    # Sigma is 96 / 8 / 6 = 2 cells across and 1 cell down.
    np.testing.assert_allclose(target.heat[1, 2, 7], np.exp(-0.5), rtol=1e-6)
    np.testing.assert_allclose(target.heat[1, 3, 5], np.exp(-0.5), rtol=1e-6)
    np.testing.assert_allclose(target.box, [[0.0, 0.0, np.log(12), np.log(6)]], atol=1e-6)
    assert target.cell.tolist() == [2 * 12 + 5]
    assert target.sized.tolist() == [1.0]


def test_a_point_has_a_place_and_no_size() -> None:
    target = object_target(crop_with([(95.9, 0.0)], [(0, 0)], [0]), 1)
    assert target.heat[0, 0, 11] == 1.0
    assert target.sized.tolist() == [0.0]
    np.testing.assert_allclose(target.box[0, :2], [0.4875, -0.5], atol=1e-4)


def test_overlapping_gaussians_keep_the_larger_value() -> None:
    together = object_target(crop_with([(28, 28), (36, 28)], [(30, 30)] * 2, [0, 0]), 1)
    assert (together.heat == 1).sum() == 2
    assert together.heat.max() == 1.0


def test_open_regions_are_unknown() -> None:
    target = object_target(crop_with([], [], [], [(-20, 8, 17, 33)]), 1)
    unknown = np.zeros((12, 12), bool)
    unknown[1:5, 0:3] = True
    np.testing.assert_array_equal(target.known == 0, unknown)
    assert target.box.shape == (0, 4)


@given(
    x=st.floats(0, 95.875, width=32),
    y=st.floats(0, 95.875, width=32),
    w=st.floats(2, 300, width=32),
    h=st.floats(2, 300, width=32),
)
def test_the_model_decodes_what_the_target_encodes(x: float, y: float, w: float, h: float) -> None:
    import torch

    target = object_target(crop_with([(x, y)], [(w, h)], [0]), 1)
    side = 96 // STRIDE
    box = torch.zeros(1, 4, side * side)
    box[0, :, target.cell[0]] = torch.from_numpy(target.box[0])
    x1, y1, x2, y2 = decode_boxes(box.view(1, 4, side, side))[0, target.cell[0]].tolist()
    np.testing.assert_allclose(
        [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], [x, y, w, h], rtol=1e-4, atol=1e-3
    )


def test_an_area_is_the_share_of_a_cell_that_it_covers_and_nothing_is_said_where_nothing_is_labelled() -> (
    None
):
    mask = np.full((96, 96, 3), 9, np.uint8)
    mask[0:8, 0:4] = (1, 2, 3)
    mask[8:16, 8:16] = (4, 5, 6)
    mask[:, 48:] = 0
    share = area_target(crop_with([], [], [], mask=mask), [(1, 2, 3), (4, 5, 6)])
    assert share.shape == (2, 12, 12)
    assert share[0, 0, 0] == 0.5
    assert share[1, 1, 1] == 1.0
    assert share[:, :, :6].sum() == 1.5
    assert (share[:, :, 6:] == -1).all()
