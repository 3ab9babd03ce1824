from __future__ import annotations

import math

import pytest
import torch

from training.losses import area_entropy, box_errors, contrast, map_focal
from training.processes import Processes

ALONE = Processes(0, 1, torch.device("cpu"))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[[[2.0, -1.0], [0.5, 3.0]]]])
    heat = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
    weight = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    hit = -math.log(sigmoid(2)) * (1 - sigmoid(2)) ** 2
    near = -math.log(1 - sigmoid(-1)) * sigmoid(-1) ** 2 * 0.5**4
    far = -math.log(1 - sigmoid(0.5)) * sigmoid(0.5) ** 2
    assert map_focal(logits, heat, weight).mean(ALONE).item() == pytest.approx(hit + near + far, rel=1e-5)


def test_focal_loss_is_a_mean_over_objects_and_finite_without_any() -> None:
    logits, heat = torch.full((1, 1, 1, 4), -1.0), torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    hit = -math.log(sigmoid(-1)) * (1 - sigmoid(-1)) ** 2
    miss = -math.log(1 - sigmoid(-1)) * sigmoid(-1) ** 2
    ones = torch.ones_like(heat)
    assert map_focal(logits, heat, ones).mean(ALONE).item() == pytest.approx(hit + miss, rel=1e-5)
    assert map_focal(logits, heat * 0, ones).mean(ALONE).item() == pytest.approx(4 * miss, rel=1e-5)
    assert map_focal(logits, heat, ones * 0).mean(ALONE).item() == 0


def test_what_nobody_annotated_gives_no_gradient() -> None:
    logits = torch.tensor([[[[5.0, 5.0]]]], requires_grad=True)
    map_focal(logits, torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]])).total.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0, 0] > 0
    assert logits.grad[0, 0, 0, 1] == 0


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[[-200.0, 200.0]]]], requires_grad=True)
    loss = map_focal(logits, torch.tensor([[[[1.0, 0.0]]]]), torch.ones(1, 1, 1, 2)).total
    loss.backward()
    assert loss.item() == pytest.approx(400, rel=1e-5)
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_area_entropy_by_hand_leaves_out_what_is_unknown() -> None:
    found = area_entropy(torch.tensor([[0.0, 2.0, 7.0]]), torch.tensor([[0.5, 1.0, -1.0]])).mean(ALONE).item()
    assert found == pytest.approx((math.log(2) - math.log(sigmoid(2))) / 2, rel=1e-5)


def test_box_error_counts_sizes_only_where_they_are_known() -> None:
    predicted = torch.tensor([[0.1, 0.0, 1.0, 2.0], [0.0, -0.3, 9.0, 9.0]])
    target = torch.tensor([[0.0, 0.0, 1.5, 2.0], [0.0, 0.0, 0.0, 0.0]])
    offset, size = box_errors(predicted, target, torch.tensor([1.0, 0.0]))
    assert offset.mean(ALONE).item() == pytest.approx((0.1 + 0.3) / 2, rel=1e-5)
    assert size.mean(ALONE).item() == pytest.approx(0.5, rel=1e-5)
    nothing = box_errors(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0))
    assert [part.mean(ALONE).item() for part in nothing] == [0, 0]


def test_contrast_by_hand() -> None:
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    same = torch.tensor([[True, False, False], [False, True, False]])
    scale = torch.tensor(2.0)
    e2 = math.exp(2)
    # Image 0 sees its own text and one negative as near; image 1 two far ones.
    i2t = (-math.log(e2 / (2 * e2 + 1)) - math.log(e2 / (e2 + 2))) / 2
    t2i = -math.log(e2 / (e2 + 1))
    assert contrast(image, text, same, scale, slice(0, 2), ALONE).item() == pytest.approx(
        (i2t + t2i) / 2, rel=1e-5
    )


def test_a_shared_caption_is_no_negative() -> None:
    image = torch.nn.functional.normalize(
        torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    image[1] = image[0]
    text = image.clone()
    shared = torch.eye(3, dtype=torch.bool)
    shared[0, 1] = shared[1, 0] = True
    scale = torch.tensor(20.0)
    apart, joined = (
        contrast(image, text, same, scale, slice(0, 3), ALONE).item()
        for same in (torch.eye(3, dtype=torch.bool), shared)
    )
    # With both positives the target is what the model says: half and half, so the loss is their entropy.
    assert joined == pytest.approx(apart, abs=1e-5)
    assert joined == pytest.approx(2 / 3 * math.log(2), abs=0.05)
