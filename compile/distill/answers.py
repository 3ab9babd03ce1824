"""What a step asks of the teacher, what it answers, and both together: the student's lesson."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.batches import CaptionBatch, DenseBatch
from training.pretrain import to_device

_MARK = 4  # a crop is recognised by its means over 4 x 4 fields


@dataclass(frozen=True, slots=True)
class Questions:
    """The crops of a step, as the recipe draws them, and unlabelled ones behind them.

    dense, captioned: the recipe's batches, sentences as the teacher's embeddings; crops: (N + U, S, S, 3)
    uint8, the first N those of `dense`; scenes: (M + U, S, S, 3) uint8, the first M those of `captioned`.
    """

    dense: DenseBatch
    captioned: CaptionBatch
    crops: Tensor
    scenes: Tensor


@dataclass(frozen=True, slots=True)
class Answers:
    """What the teacher says of a step's crops, float16.

    maps: (N + U, P, h, w) logits of the step's prompts on the teacher's grid; box: (N + U, 4, h, w) its box
    head there, or (N + U, 0, h, w) from a teacher without one; crop: (N + U, D), scene: (M + U, D) unit image
    embeddings; crop_mark, scene_mark: (.., 4, 4, 3) uint8, what the teacher's crops looked like.
    """

    maps: NDArray[np.float16]
    box: NDArray[np.float16]
    crop: NDArray[np.float16]
    scene: NDArray[np.float16]
    crop_mark: NDArray[np.uint8]
    scene_mark: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A step of the student: Questions and Answers as tensors of the device, answers as float32."""

    dense: DenseBatch
    captioned: CaptionBatch
    crops: Tensor
    scenes: Tensor
    maps: Tensor
    box: Tensor
    crop: Tensor
    scene: Tensor

    @classmethod
    def of(cls, asked: Questions, answers: Answers, device: torch.device) -> Lesson:
        """The lesson on the device; answers may be memory-mapped: they are copied here."""
        told = {
            name: torch.from_numpy(np.array(getattr(answers, name), np.float32))
            for name in ("maps", "box", "crop", "scene")
        }
        dense, captioned = to_device(asked.dense, device), to_device(asked.captioned, device)
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in told.items()}
        return cls(dense, captioned, asked.crops.to(device), asked.scenes.to(device), **moved)


NAMES = tuple(field.name for field in fields(Answers))


def marks(images: Tensor) -> NDArray[np.uint8]:
    """(N, S, S, 3) uint8, S a multiple of 4 -> means over 4 x 4 fields, (N, 4, 4, 3) uint8."""
    n, side = images.shape[:2]
    field = side // _MARK
    means = images.reshape(n, _MARK, field, _MARK, field, 3).float().mean(dim=(2, 4))
    return means.round().to(torch.uint8).numpy()
