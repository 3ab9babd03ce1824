from __future__ import annotations

import math

import pytest
import torch

from training.models.lite import POSITION_WIDTH, LiteImageTower, decode_boxes, position_features


@torch.inference_mode()
def test_every_cell_and_the_image_have_a_unit_embedding() -> None:
    tower = LiteImageTower(width=32, channels=24, pretrained=False).eval()
    dense = tower(torch.randint(0, 256, (2, 96, 64, 3), dtype=torch.uint8))
    assert dense.cell.shape == (2, 32, 12, 8)
    assert dense.box.shape == (2, 4, 12, 8)
    assert dense.embedding.shape == (2, 32)
    torch.testing.assert_close(dense.cell.norm(dim=1), torch.ones(2, 12, 8))
    torch.testing.assert_close(dense.embedding.norm(dim=1), torch.ones(2))


def test_boxes_decode_by_hand() -> None:
    box = torch.zeros(1, 4, 2, 3)
    box[0, :, 1, 2] = torch.tensor([0.25, -0.5, math.log(2.0), math.log(4.0)])
    box[0, :, 0, 0] = torch.tensor([9.0, -9.0, 99.0, -99.0])
    corners = decode_boxes(box)[0]
    assert corners.shape == (6, 4)
    # Cell (2, 1): centre (2.75, 1.0) cells, 2 x 4 cells.
    torch.testing.assert_close(corners[5], torch.tensor([1.75, -1.0, 3.75, 3.0]) * 8)
    # A box without offset or size is one cell.
    torch.testing.assert_close(corners[1], torch.tensor([8.0, 0.0, 16.0, 8.0]))
    assert bool(corners.isfinite().all())
    assert (corners[0, 2] - corners[0, 0]).item() == pytest.approx(8 * math.exp(5), rel=1e-4)


def test_position_features_say_where_a_cell_lies() -> None:
    features = position_features(4, 6, torch.zeros(1))
    assert features.shape == (POSITION_WIDTH, 4, 6)
    assert features.abs().max() <= 1
    # First octave: sin(pi x), sin(pi y), cos(pi x), cos(pi y) at the cells' centres.
    x, y = 2.5 / 6, 1.5 / 4
    expected = [math.sin(math.pi * x), math.sin(math.pi * y), math.cos(math.pi * x), math.cos(math.pi * y)]
    torch.testing.assert_close(features[:4, 1, 2], torch.tensor(expected))
    flat = features.flatten(1).T
    assert len({tuple(round(v, 4) for v in row.tolist()) for row in flat}) == 24
