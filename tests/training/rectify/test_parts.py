"""The parts of ReCLIP against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edge.bundle.load  # noqa: F401  (the bundle's modules import one another in this order)
from firmware_cfg.prompt_list import PromptList
from training.rectify.bias import contrast, hard_masks, pooled, rectified
from training.rectify.distil import as_rectification, explained, fit_affine, left_out
from training.rectify.hypotheses import crop_logits, hypotheses
from training.rectify.terrain import favour, row_texts


def test_a_bias_map_is_taken_away_by_class_and_by_place() -> None:
    position = torch.tensor([[[1.0, -1.0]]])
    out = rectified(torch.zeros(2, 1, 2), position, torch.tensor([1.0, 0.0]), torch.tensor([[0.0], [2.0]]))
    assert out.tolist() == [[[-1.0, -1.0]], [[-2.0, 2.0]]]


def test_masks_are_hard_and_let_the_gradient_through() -> None:
    maps = torch.tensor([[[2.0, 0.0]], [[1.0, 3.0]]], requires_grad=True)
    masks = hard_masks(maps, None)
    assert masks.detach().tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]
    masks[0].sum().backward()
    assert maps.grad is not None
    assert bool((maps.grad[0] > 0).all())
    assert bool((maps.grad[1] < 0).all())


def test_gumbel_noise_draws_a_cell_by_its_softmax() -> None:
    maps = torch.tensor([[[1.0]], [[0.0]]]).expand(2, 100, 100)
    share = hard_masks(maps, torch.Generator().manual_seed(1))[0].mean().item()
    assert share == pytest.approx(1 / (1 + np.exp(-1.0)), abs=0.02)


def test_pooling_divides_by_the_masks_own_area() -> None:
    cell = torch.tensor([[[1.0, 3.0, 9.0]]])
    masks = torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]])
    assert pooled(cell, masks).tolist() == [[2.0], [0.0]]


def test_the_loss_counts_prompts_that_are_present_alone() -> None:
    text = torch.eye(2)
    loss = contrast(torch.tensor([[5.0, 0.0], [5.0, 0.0]]), text, torch.tensor([True, False]), 2.0)
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-2.0)))


def test_a_prompt_that_always_wins_is_no_hypothesis_where_it_is_weak() -> None:
    loud = torch.tensor([[9.0, 9.0, 9.0], [5.0, 5.0, 5.0]])
    quiet = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    found = hypotheses(torch.stack((loud, quiet), dim=2))
    assert found.tolist() == [[True, False], [False, True]]


def test_crops_overlap_by_half() -> None:
    logits = crop_logits(torch.ones(3, 8, 8), torch.eye(3), 1.0, parts=4)
    assert logits.shape == (49, 3)
    assert torch.allclose(logits, torch.full((49, 3), 3**-0.5))


def test_an_affine_map_is_found_again_and_turned_into_what_is_added_to_logits() -> None:
    random = np.random.default_rng(0)
    text = random.normal(size=(60, 5))
    slope, offset = random.normal(size=(5, 3)), random.normal(size=3)
    target = text @ slope + offset
    found, at = fit_affine(text, target, np.ones(60), ridge=1e-9)
    assert np.allclose(found, slope, atol=1e-5)
    assert np.allclose(at, offset, atol=1e-5)
    assert explained(target, text @ found + at) == pytest.approx(1.0)
    bias, columns = as_rectification(found, at, logit_scale=4.0).fill(text[:2].astype(np.float32))
    assert np.allclose(bias, -target[:2, 0], atol=1e-4)
    assert np.allclose(columns * 4.0, -target[:2, 1:], atol=1e-4)


def test_a_row_that_is_left_out_is_told_by_maps_that_never_saw_it() -> None:
    random = np.random.default_rng(1)
    text = random.normal(size=(40, 3))
    line = text @ random.normal(size=(3, 2)) + 1.0
    assert np.allclose(left_out(text, line, np.ones(40), first=10), line[10:], atol=0.05)
    noise = random.normal(size=(40, 2))
    assert explained(noise[10:], left_out(text, noise, np.ones(40), first=10)) < 0.1


def test_a_prompts_favour_is_its_logit_on_the_best_twentieth_of_all_cells() -> None:
    ramp = torch.linspace(0, 1, 11 * 101).view(1, 1, -1)
    cell = torch.cat((ramp, torch.zeros_like(ramp)))
    assert favour([cell], torch.eye(2), 10.0).tolist() == pytest.approx([9.41, 0.0], abs=0.02)


def test_a_list_has_a_text_for_every_row_of_its_bank() -> None:
    prompts = [{"id": "a", "text": ["a car", "an auto"]}, {"id": "b", "text": ["x", "y"], "match": "any"}]
    listed = PromptList.model_validate({"prompts": prompts, "background": ["a roof"]})
    assert row_texts(listed) == ["a car", "x", "y", "a roof"]
