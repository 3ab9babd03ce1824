"""Parts of SPECIAL against hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firmware_cfg.errors import UsageError
from training.evaluation.hyperspectral import nearest_names
from training.evaluation.hyperspectral_scores import Stage, score_map
from training.hyperspectral.classes import classes_from_names
from training.hyperspectral.mixtures import soft_labels, split_by_confidence
from training.hyperspectral.network import SpectralSpatialNet
from training.hyperspectral.noisy import NoisyTrainer, NoisyTraining, standardised
from training.hyperspectral.tiles import predict_scene
from training.hyperspectral.zeroshot import (
    DenseLabels,
    ZeroShot,
    parse_zero_shot,
    similarities,
    turned,
    undone,
    window_starts,
    zero_shot,
)


class _ColourTower:
    """A cell is its mean colour, made unit: red speaks for class 0, green for 1, blue for 2."""

    stride, window, logit_scale = 8, 32, 20.0

    def __call__(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cells = torch.nn.functional.avg_pool2d(image.float().permute(0, 3, 1, 2), self.stride)
        whole = cells.mean(dim=(2, 3))
        return torch.nn.functional.normalize(cells, dim=1), torch.nn.functional.normalize(whole, dim=1)


def test_windows_step_by_half_and_end_flush() -> None:
    assert window_starts(256, 256, 32) == [0]
    assert window_starts(416, 256, 32) == [0, 128, 160]
    assert window_starts(288, 224, 32) == [0, 64]


@pytest.mark.parametrize("view", range(8))
def test_views_are_undone(view: int) -> None:
    image = np.arange(12).reshape(3, 4)
    assert (undone(turned(image, view)[None].astype(np.float32), view)[0] == image).all()


def test_a_uniform_window_counts_what_it_has_less_its_share() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    found = similarities(_ColourTower(), red, torch.eye(3), 1.0)
    assert found.shape == (3, 32, 32)
    np.testing.assert_allclose(found[:, 5, 5], (0.7, 0.0, 0.0), atol=1e-6)  # 1 - 0.3


def test_zero_shot_labels_lie_where_the_colours_do() -> None:
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, :24, 1], image[:, 24:, 2] = 200, 200
    found = zero_shot(_ColourTower(), image, np.eye(3, dtype=np.float32), ZeroShot((1.0, 2.0), 8))
    assert (found.label[:, :20] == 1).all()
    assert (found.label[:, 28:] == 2).all()
    np.testing.assert_allclose(found.probability.sum(axis=0), 1.0, atol=1e-5)


def test_confidence_is_best_less_second_best() -> None:
    labels = DenseLabels(np.array([0.2, 0.7, 0.1], np.float32).reshape(3, 1, 1))
    assert labels.label.item() == 1
    assert labels.confidence.item() == pytest.approx(0.5)


def test_mixture_splits_three_heaps_of_confidence() -> None:
    rng = np.random.default_rng(0)
    heaps = [rng.normal(middle, 0.01, 200) for middle in (0.1, 0.5, 0.9)]
    split = split_by_confidence(np.concatenate(heaps).astype(np.float32), seed=0)
    assert split.hard[:200].all()
    assert not split.hard[200:].any()
    assert split.confident[400:].all()
    assert not split.confident[:400].any()


def test_too_few_or_equal_pixels_are_not_split() -> None:
    for confidence in (np.ones(50, np.float32), np.linspace(0, 1, 5, dtype=np.float32)):
        split = split_by_confidence(confidence, seed=0)
        assert not split.hard.any()
        assert not split.confident.any()


def test_soft_labels_follow_the_spectra() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(-3, 1, (100, 2)), rng.normal(3, 1, (100, 2)), [[-3, -3], [3, 3]]])
    sure = [np.arange(100), np.arange(100, 200), np.zeros(0, np.int64)]
    soft = soft_labels(features, sure, np.array([200, 201]), seed=0)
    assert soft[0, 0] > 0.99
    assert soft[1, 1] > 0.99
    assert (soft[:, 2] == 0).all()


def test_soft_labels_of_one_known_class_say_nothing() -> None:
    soft = soft_labels(np.zeros((20, 2)), [np.arange(20), np.zeros(0, np.int64)], np.array([3]), seed=0)
    np.testing.assert_allclose(soft, 0.5)


def test_tiles_equal_the_whole_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = SpectralSpatialNet(4, 3, hidden=8)
    cube = torch.randn(4, 21, 17)
    whole = predict_scene(model, cube, 8)
    monkeypatch.setattr("training.hyperspectral.tiles.TILE", 8)
    np.testing.assert_allclose(predict_scene(model, cube, 8), whole, atol=1e-5)


def test_scores_by_hand() -> None:
    truth, found = np.array([[0, 0, 0, 1, -1]]), np.array([[0, 0, 1, 1, 0]])
    score = score_map(found, truth, 3)
    assert score.oa == 0.75
    assert score.aa == pytest.approx((2 / 3 + 1) / 2)
    assert score.kappa == pytest.approx((0.75 - 0.5) / 0.5)
    assert np.isnan(score.recall[2])


def test_interval_is_students() -> None:
    scores = tuple(
        score_map(np.array([[0] * k + [1] * (10 - k)]), np.zeros((1, 10), np.int64), 2) for k in (6, 8)
    )
    low, high = Stage("x", scores).interval("oa")
    assert (low, high) == pytest.approx((0.7 - 12.706 * 0.1, 0.7 + 12.706 * 0.1), abs=1e-3)


@pytest.mark.parametrize("names", ["water", "water,Water", ""])
def test_fewer_than_two_classes_are_refused(names: str) -> None:
    with pytest.raises(UsageError, match="--classes"):
        classes_from_names(names)


@pytest.mark.parametrize(("scales", "views"), [("a", 8), ("0", 8), ("1", 3), ("", 1)])
def test_scales_and_views_are_checked(scales: str, views: int) -> None:
    with pytest.raises(UsageError, match=r"--scales|--views"):
        parse_zero_shot(scales, views)


def test_training_mends_noisy_labels_and_resumes_to_the_same(tmp_path) -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((20, 24), np.int64)
    truth[:, 12:] = 1
    spectra = rng.normal(0, 0.5, (20, 24, 6)).astype(np.float32)
    spectra[truth == 1] += 2.0
    wrong = rng.random(truth.shape) < 0.25
    probability = np.full((2, *truth.shape), 0.2, np.float32)
    np.put_along_axis(probability, np.where(wrong, 1 - truth, truth)[None], 0.8, axis=0)
    settings = NoisyTraining(epochs=4, iterations=10, warm_up=2, per_class=100, learning_rate=1e-2)
    cube = standardised(spectra, None)
    trainer = NoisyTrainer(cube, DenseLabels(probability), None, settings, seed=1)
    for epoch in trainer.run():
        if epoch == 3:
            trainer.save(tmp_path / "state.pt")
    found = trainer.labels()
    assert (found.label == truth).mean() > 0.95
    resumed = NoisyTrainer(cube, DenseLabels(probability), None, settings, seed=1)
    resumed.restore(tmp_path / "state.pt")
    assert list(resumed.run()) == [4]
    np.testing.assert_allclose(resumed.labels().probability, found.probability, atol=1e-6)


def test_each_class_is_told_the_name_nearest_to_its_own() -> None:
    rows = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0.6, 0.8]], np.float32)
    found = nearest_names(rows, ["a", "b", "c"])
    assert [(own, other) for own, other, _ in found] == [("a", "b"), ("b", "a"), ("c", "b")]
    assert [cosine for *_, cosine in found] == pytest.approx([0.6, 0.6, 0.48])


def test_where_no_pixel_is_in_doubt_there_are_no_soft_labels() -> None:
    features = np.random.default_rng(0).normal(size=(40, 3))
    sure = [np.arange(20), np.arange(20, 40)]
    assert soft_labels(features, sure, np.empty(0, np.int64), seed=0).shape == (0, 2)
