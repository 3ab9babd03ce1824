from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, log_softmax, rel_entr
from torch.nn import functional as F

from compile.distill.losses import (
    affinity_divergence,
    box_distance,
    feature_error,
    map_distance,
    on_grid,
)

LOGITS = arrays(np.float32, (2, 3, 2, 2), elements=st.floats(-12, 12, width=32))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_the_feature_error_is_that_of_the_cosine() -> None:
    student, teacher = F.normalize(drawn(5, 16), dim=1), F.normalize(drawn(5, 16, seed=1), dim=1)
    cosine = (student * teacher).sum(1).mean()
    assert feature_error(student, teacher).item() == pytest.approx(2 * (1 - cosine.item()) / 16, rel=1e-5)


def test_affinity_is_the_divergence_of_both_directions() -> None:
    student, teacher = drawn(4, 7), drawn(4, 7, seed=1)
    p, q = teacher.numpy().astype(np.float64), student.numpy().astype(np.float64)
    to_text = rel_entr(np.exp(log_softmax(p, 1)), np.exp(log_softmax(q, 1))).sum(1).mean()
    own_p, own_q = p[:, :3], q[:, :3]  # the texts of the three captioned images; the fourth has none
    to_image = rel_entr(np.exp(log_softmax(own_p, 0)), np.exp(log_softmax(own_q, 0))).sum(0).mean()
    found = affinity_divergence(student, teacher, 3).item()
    assert found == pytest.approx((to_text + to_image) / 2, rel=1e-5)
    assert affinity_divergence(teacher, teacher, 3).item() == pytest.approx(0, abs=1e-6)


@given(LOGITS, LOGITS)
def test_the_distance_of_maps_is_a_weighed_cross_entropy(found: np.ndarray, wanted: np.ndarray) -> None:
    p, q = expit(wanted.astype(np.float64)), expit(found.astype(np.float64))
    log_q, log_rest = -np.logaddexp(0, -found.astype(np.float64)), -np.logaddexp(0, found.astype(np.float64))
    cross = -(p * log_q + (1 - p) * log_rest)
    expected = ((q - p) ** 2 * cross).sum() / max((p**2).sum(), 1.0)
    distance = map_distance(torch.from_numpy(found), torch.from_numpy(wanted)).item()
    assert distance == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_maps_that_agree_are_not_apart_and_pull_nowhere() -> None:
    maps = drawn(2, 3, 4, 4).mul(5).requires_grad_()
    distance = map_distance(maps, maps.detach())
    distance.backward()
    assert distance.item() == 0
    assert maps.grad is not None
    assert maps.grad.abs().max() == 0


def test_boxes_count_where_the_teacher_sees_something() -> None:
    teacher, student = torch.zeros(1, 4, 1, 3), torch.zeros(1, 4, 1, 3)
    student[..., 1] = 2.0  # seen half
    student[..., 2] = 90.0  # not seen at all
    seen = torch.tensor([[[1.0, 0.5, 0.0]]])
    assert box_distance(student, teacher, seen).item() == pytest.approx(0.25 * 2 / 1.25)


def test_maps_are_averaged_onto_a_coarser_grid() -> None:
    maps = drawn(1, 2, 12, 12)
    expected = maps.reshape(1, 2, 3, 4, 3, 4).mean(dim=(3, 5))
    torch.testing.assert_close(on_grid(maps, (3, 3)), expected)
    assert on_grid(maps, (12, 12)) is maps
