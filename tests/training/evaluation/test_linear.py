from __future__ import annotations

import numpy as np
import pytest
import torch

from training.evaluation.linear import MOMENTUM, PAPER, Setting, Training, choose, classify, fit, search

SETTINGS = (PAPER, Setting(0.1, 1e-2), Setting(3.0, 1e-6))


def blobs(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around three directions."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), per_class)
    points = np.eye(3, 6)[labels] + rng.normal(0, 0.4, (len(labels), 6))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), labels


def reference(setting: Setting, training: Training, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """torch's own SGD, autograd and schedule on one linear layer."""
    layer = torch.nn.Linear(features.shape[1], 3)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(
        layer.parameters(), setting.learning_rate, momentum=MOMENTUM, weight_decay=setting.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs)
    order = torch.Generator().manual_seed(training.seed)
    for _ in range(training.epochs):
        for part in torch.randperm(len(labels), generator=order).split(training.batch):
            optimizer.zero_grad()
            logits = layer(torch.from_numpy(features)[part])
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)[part]).backward()
            optimizer.step()
        schedule.step()
    return np.concatenate((layer.weight.detach().numpy().T, layer.bias.detach().numpy()[None]))


@pytest.mark.parametrize("batch", [20, 1000])
def test_all_settings_together_are_trained_as_torch_trains_each(batch: int) -> None:
    features, labels = blobs(15, seed=0)
    training = Training(SETTINGS, epochs=30, batch=batch, seed=5)
    found = fit(training, features, labels, 3)
    for weights, setting in zip(found, SETTINGS, strict=True):
        np.testing.assert_allclose(
            weights, reference(setting, training, features, labels), rtol=2e-3, atol=2e-4
        )


def test_validation_chooses_and_the_first_wins_where_it_cannot_tell() -> None:
    train, validation = blobs(20, seed=1), blobs(20, seed=2)
    useless = Setting(0.0, 0.0)  # stays at zero weights, for which every image is of the first class
    chosen = choose(Training((useless, PAPER), epochs=50), train, validation, 3)
    assert chosen.setting == PAPER
    assert chosen.validation_top1 == (classify(chosen.weights, validation[0]) == validation[1]).mean()
    assert chosen.validation_top1 > 0.8
    twice = choose(Training((PAPER, PAPER), epochs=5), train, validation, 3)
    assert twice.setting is PAPER


def test_the_search_begins_with_the_papers_setting_and_is_seeded() -> None:
    found = search(20, seed=3)
    assert found[0] == Setting(0.8, 4e-5)
    assert len(set(found)) == 20
    assert found == search(20, seed=3) != search(20, seed=4)
    assert all(0.08 <= s.learning_rate <= 8 and 1e-7 <= s.weight_decay <= 1e-3 for s in found)
    assert search(1) == (PAPER,)
