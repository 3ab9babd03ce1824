from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from training.ablations.cached import Captioned, HeadOptions, captioned, embed, train_scene_head
from training.models.text import project

WIDTH, FEATURES, SENTENCES = 8, 24, 16


def test_a_target_is_shared_between_different_captions() -> None:
    data = captioned(
        np.zeros((1, 3, 4), np.float16), [["a ship", "a ship", "water"], ["a field"], ["a ship"]]
    )
    assert data.sentences == ("a ship", "water", "a field")
    torch.testing.assert_close(data.share, torch.tensor([[0.5, 0.5, 0], [0, 0, 1], [1, 0, 0]]))


@pytest.fixture(scope="module")
def world() -> tuple[Captioned, torch.Tensor, nn.Linear, nn.Linear]:
    """Images whose features are a linear mixture of their sentence's embedding, two views of each."""
    torch.manual_seed(0)
    rows = nn.functional.normalize(torch.randn(SENTENCES, 384), dim=1)
    projection, mixture = nn.Linear(384, WIDTH), torch.randn(WIDTH, FEATURES)
    owner = torch.arange(64) % SENTENCES
    with torch.no_grad():
        clean = project(projection, rows[owner]) @ mixture
    views = torch.stack([clean, clean + 0.05 * torch.randn_like(clean)])
    names = [f"sentence {i}" for i in range(SENTENCES)]
    data = captioned(views.numpy().astype(np.float16), [[names[i]] for i in owner.tolist()])
    return data, rows, nn.Linear(FEATURES, WIDTH), projection


def found(head: nn.Linear, projection: nn.Linear, data: Captioned, rows: torch.Tensor) -> float:
    """Share of images whose best sentence is their own."""
    with torch.inference_mode():
        best = (embed(head, data.features[0]) @ project(projection, rows).T).argmax(1)
    return float((data.share[torch.arange(len(best)), best] > 0).float().mean())


OPTIONS = HeadOptions(steps=80, batch=32, learning_rate=0.02, weight_decay=0.0, dropout=0.0)


@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        HeadOptions(steps=80, batch=32, learning_rate=0.02, all_sentences=False, dropout=0.1),
        HeadOptions(steps=80, batch=32, learning_rate=0.02, softness=0.3, dropout=0.0),
    ],
    ids=["plain", "one sentence an image, dropout", "soft targets"],
)
def test_the_head_learns_to_find_the_sentence(
    world: tuple[Captioned, torch.Tensor, nn.Linear, nn.Linear], options: HeadOptions
) -> None:
    data, rows, head, projection = world
    before = copy.deepcopy(head.state_dict())
    assert found(head, projection, data, rows) < 0.4
    fitted, same = train_scene_head(head, projection, data, lambda numbers: rows[numbers], options)
    assert found(fitted, same, data, rows) > 0.9
    assert torch.equal(same.weight, projection.weight)
    torch.testing.assert_close(head.state_dict(), before, rtol=0, atol=0)
    again, _ = train_scene_head(head, projection, data, lambda numbers: rows[numbers], options)
    torch.testing.assert_close(again.weight, fitted.weight)


def test_what_is_named_is_tuned_too(world: tuple[Captioned, torch.Tensor, nn.Linear, nn.Linear]) -> None:
    data, rows, head, projection = world
    words = nn.Embedding.from_pretrained(rows.clone(), freeze=False)
    short = HeadOptions(steps=3, batch=16)
    _, tuned = train_scene_head(head, projection, data, words, short, ("projection", "words"))
    assert not torch.equal(tuned.weight, projection.weight)
    assert not torch.equal(words.weight, rows)
