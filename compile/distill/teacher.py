"""A checkpoint of either family as a teacher: it embeds sentences and crops, and draws lookup maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from compile.distill.answers import Answers, Questions, marks
from training.checkpoint import AnyCheckpoint, Checkpoint, ClipCheckpoint, open_checkpoint
from training.models.lite import STRIDE, Dense
from training.progress import track
from training.towers.base import Towers
from training.towers.lite import LiteTowers
from training.towers.lookup import dense_bias

_SENTENCES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Teacher:
    """A loaded teacher, in eval mode.

    checkpoint: what it was loaded from; look: uint8 crops (N, S, S, 3) -> Dense on the teacher's grid;
    logit_scale, logit_bias: of its lookup maps, as in the graph that flies; scene_scale: of whole images
    against sentences; stride: pixels a cell; native: side in pixels that whole images must have, or None for
    any; boxes: whether its box head says anything.
    """

    checkpoint: AnyCheckpoint
    towers: Towers
    look: Callable[[Tensor], Dense]
    logit_scale: float
    logit_bias: float
    scene_scale: float
    stride: int
    native: int | None
    boxes: bool

    @property
    def width(self) -> int:
        """D, the width of the embedding space that the student moves into."""
        return self.towers.embedding_width

    @torch.inference_mode()
    def sentences(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit embeddings (len(texts), D), in order, batched by length for speed."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows = np.empty((len(texts), self.width), np.float32)
        starts = range(0, len(order), _SENTENCES_AT_ONCE)
        for start in track(starts, "the teacher reads sentences"):
            index = order[start : start + _SENTENCES_AT_ONCE]
            rows[index] = self.towers.encode_text([texts[i] for i in index]).cpu().numpy()
        return rows

    @torch.inference_mode()
    def answer(self, asked: Questions) -> Answers:
        """Lookup maps of the step's prompts and image embeddings of its crops."""
        device = self.towers.logit_scale.device
        crops = asked.crops.to(device)
        dense = self.look(resized(crops, max(1, round(crops.shape[1] / self.stride)) * self.stride))
        text = asked.dense.sentence.to(device)
        maps = self.logit_scale * torch.einsum("ndhw,pd->nphw", dense.cell, text) + self.logit_bias
        box = dense.box if self.boxes else dense.box[:, :0]
        scenes = asked.scenes.to(device)
        scene = self.towers.encode_image(resized(scenes, self.native or scenes.shape[1]))
        return Answers(
            _half(maps),
            _half(box),
            _half(dense.embedding),
            _half(scene),
            marks(asked.crops),
            marks(asked.scenes),
        )


def open_teacher(path: Path, device: torch.device) -> Teacher:
    """Load a checkpoint, or a file of CLIP weights, as teacher. Raises as `open_checkpoint`."""
    checkpoint = open_checkpoint(path)
    if isinstance(checkpoint, ClipCheckpoint):
        return _clip(checkpoint, device)
    return _lite(checkpoint, device)


def _lite(checkpoint: Checkpoint, device: torch.device) -> Teacher:
    image = checkpoint.image
    return Teacher(
        checkpoint,
        _at_work(LiteTowers(checkpoint.spec.model, image, checkpoint.text), device),
        lambda crops: cast(Dense, image(crops)),
        image.logit_scale.exp().item(),
        image.logit_bias.item(),
        image.scene_scale.exp().clamp(max=100.0).item(),
        STRIDE,
        native=None,
        boxes=True,
    )


def _clip(checkpoint: ClipCheckpoint, device: torch.device) -> Teacher:
    towers = checkpoint.towers
    scale = towers.logit_scale.exp().item()
    return Teacher(
        checkpoint,
        _at_work(towers, device),
        towers.places,
        scale,
        dense_bias(towers),
        scale,
        towers.stride,
        native=towers.image_size,
        boxes=False,
    )


def _at_work(towers: Towers, device: torch.device) -> Towers:
    return towers.eval().requires_grad_(False).to(device)


def _half(value: Tensor) -> NDArray[np.float16]:
    return value.half().cpu().numpy()


def resized(images: Tensor, side: int) -> Tensor:
    """Square images (N, S, S, 3) at the side that a tower takes, float 0 to 255 where that changes them."""
    if images.shape[1] == side:
        return images
    channels = images.permute(0, 3, 1, 2).float()
    sized = F.interpolate(channels, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return sized.permute(0, 2, 3, 1)
