from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compile.distill.answers import Questions, marks
from compile.distill.teacher import open_teacher, resized
from training.batches import CaptionBatch, DenseBatch
from training.checkpoint import open_checkpoint
from training.models.lite import POSITION_WIDTH
from training.models.lookup_graph import NO_PEAK
from training.torch_engine import TorchImageEngine, TorchTextEncoder

WORDS = ["a car seen from above", "grass", "an elephant"]
CPU = torch.device("cpu")


@pytest.fixture(params=["lite_teacher", "clip_teacher"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def questions(words: torch.Tensor) -> Questions:
    rng = np.random.default_rng(1)
    crops = torch.from_numpy(rng.integers(0, 255, (2, 192, 192, 3), np.uint8))
    scenes = torch.from_numpy(rng.integers(0, 255, (3, 64, 64, 3), np.uint8))
    none = torch.empty(0)
    dense = DenseBatch(crops, words, none, none, none, [], none, none, none, none)
    captioned = CaptionBatch(scenes, words, torch.eye(3, dtype=torch.bool), slice(0, 3))
    return Questions(dense, captioned, crops, scenes)


def test_a_teacher_says_what_the_graph_that_flies_says(folder: Path) -> None:
    teacher = open_teacher(folder, CPU)
    words = torch.from_numpy(teacher.sentences(WORDS))
    asked = questions(words)
    answers = teacher.answer(asked)
    checkpoint = open_checkpoint(folder)
    np.testing.assert_allclose(words, TorchTextEncoder(checkpoint).encode(WORDS), atol=1e-5)
    prompts = np.pad(words.numpy(), ((0, 0), (0, POSITION_WIDTH)))
    flown = TorchImageEngine(checkpoint, (192, 192)).infer(
        asked.crops.numpy(), prompts, np.zeros(len(WORDS), np.float32)
    )
    peaks = flown.place_logit
    assert (peaks > NO_PEAK).any()
    # Every prompt's strongest place is a cell of its map, and the image's own embedding the teacher's.
    np.testing.assert_allclose(answers.maps.max(axis=(2, 3)), peaks.max(axis=1), atol=2e-2)
    np.testing.assert_allclose(answers.crop, flown.embedding, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(answers.scene.astype(np.float32), axis=1), 1, atol=1e-3)


def test_only_a_teacher_with_a_box_head_says_how_large_things_are(
    lite_teacher: Path, clip_teacher: Path
) -> None:
    lite, clip = open_teacher(lite_teacher, CPU), open_teacher(clip_teacher, CPU)
    words = torch.from_numpy(lite.sentences(WORDS))
    assert lite.answer(questions(words)).box.shape == (2, 4, 24, 24)
    assert clip.answer(questions(words)).box.shape == (2, 0, 12, 12)
    assert (lite.stride, clip.stride) == (8, 16)


def test_images_are_resized_only_where_a_tower_needs_it() -> None:
    image = torch.full((1, 96, 96, 3), 77, dtype=torch.uint8)
    assert resized(image, 96) is image
    larger = resized(image, 98)
    assert larger.shape == (1, 98, 98, 3)
    torch.testing.assert_close(larger, torch.full((1, 98, 98, 3), 77.0))


def test_a_mark_is_the_mean_of_a_sixteenth_of_a_crop() -> None:
    image = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    image[0, 8:16, 24:, 1] = 200
    image[0, 0, 0, 2] = 255  # one of 64 pixels
    mark = marks(image)
    assert mark.shape == (1, 4, 4, 3)
    assert mark[0, 1, 3].tolist() == [0, 200, 0]
    assert mark[0, 0, 0].tolist() == [0, 0, 4]
    assert mark.sum() == 204
