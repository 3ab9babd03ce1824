"""One training step's loss: dense maps, boxes, areas and captions, in the shared embedding space."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.batches import CaptionBatch, DenseBatch
from training.losses import area_entropy, box_errors, contrast, map_focal
from training.models.lite import LiteImageTower
from training.models.text import TextTower, project
from training.processes import Processes

BOX_WEIGHT = 0.3
AREA_WEIGHT = 2.0


class StepLosses(NamedTuple):
    """The terms of a step's loss, each a scalar tensor; `total` is what is minimised."""

    focal: Tensor
    area: Tensor
    box: Tensor
    caption: Tensor

    @property
    def total(self) -> Tensor:
        return self.focal + AREA_WEIGHT * self.area + BOX_WEIGHT * self.box + self.caption


class LitePretraining(nn.Module):
    """The image tower and the text tower's trainable projection, with the losses that pull them together.

    forward: a step's dense and captioned batches -> StepLosses, of this process's part of the batches; the
    mean over processes is the loss of the whole.
    """

    def __init__(self, image: LiteImageTower, text: TextTower, processes: Processes) -> None:
        super().__init__()
        self.image = image
        self.projection = text.projection
        self.processes = processes

    def forward(self, dense: DenseBatch, captioned: CaptionBatch) -> StepLosses:
        focal, area, box = self.dense_losses(dense)
        return StepLosses(focal, area, box, self.caption_loss(captioned))

    def taps(self, pixels: Tensor) -> list[Tensor]:
        """Trunk features; no gradient reaches the frozen low part."""
        with torch.no_grad():
            low = self.image.trunk.low(self.image.normalise(pixels))
        return self.image.trunk.high(low)

    def dense_losses(self, batch: DenseBatch) -> tuple[Tensor, Tensor, Tensor]:
        cell, box = self.image.dense(self.taps(batch.image))
        # Logits of +-10 lose their decimals in bfloat16.
        with torch.autocast(cell.device.type, enabled=False):
            text = project(self.projection, batch.sentence)
            maps = torch.einsum("ndhw,pd->nphw", cell, text)
            logits = self.image.logit_scale.exp() * maps + self.image.logit_bias
        focal = map_focal(logits, batch.heat, batch.weight)
        rows = [logits[n, rows] for n, rows in batch.area_rows]
        area = area_entropy(torch.cat([logits[:0, 0], *rows]), batch.area)
        at_objects = box.flatten(2)[batch.owner, :, batch.cell]
        offset, size = box_errors(at_objects, batch.box, batch.sized)
        one = self.processes
        return focal.mean(one), area.mean(one), offset.mean(one) + size.mean(one)

    def caption_loss(self, batch: CaptionBatch) -> Tensor:
        embedding = self.image.embed(self.taps(batch.image))
        with torch.autocast(embedding.device.type, enabled=False):
            text = project(self.projection, batch.sentence)
            scale = self.image.scene_scale.exp().clamp(max=100.0)
            return contrast(embedding, text, batch.same, scale, batch.part, self.processes)
