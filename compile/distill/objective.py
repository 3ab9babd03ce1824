"""One step of the student: what it says of the crops, against the teacher's answers and the annotations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from compile.distill.answers import Lesson
from compile.distill.losses import affinity_divergence, box_distance, feature_error, map_distance, on_grid
from compile.distill.options import DistillOptions
from compile.distill.teacher import Teacher
from training.batches import DenseBatch
from training.losses import area_entropy, box_errors, contrast, map_focal
from training.models.lite import STRIDE, LiteImageTower
from training.objective import AREA_WEIGHT, BOX_WEIGHT
from training.pretrain import ALONE

LARGEST_SCALE = 100.0


class Distillation(nn.Module):
    """The student's image tower and its losses. Text is the teacher's and does not learn.

    forward: a Lesson -> the terms of the loss by name, each a scalar that carries its weight; their sum is
    what is minimised.
    """

    def __init__(self, image: LiteImageTower, teacher: Teacher, options: DistillOptions) -> None:
        """Takes over the teacher's scales and bias, where the student's own begin."""
        super().__init__()
        self.image = image
        self.weights = options.weights
        self.labels = options.labels
        self.teacher_scale = teacher.scene_scale
        with torch.no_grad():
            image.logit_scale.fill_(math.log(teacher.logit_scale))
            image.logit_bias.fill_(teacher.logit_bias)
            image.scene_scale.fill_(math.log(teacher.scene_scale))
            # A teacher without a box head means the cell: one of its stride, at first.
            nn.init.zeros_(image.box.weight)
            assert image.box.bias is not None, "the box head has a bias"
            image.box.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]) * math.log(teacher.stride / STRIDE))

    def forward(self, lesson: Lesson) -> dict[str, Tensor]:
        taps = self._taps(lesson.crops)
        cell, box = self.image.dense(taps)
        crop, scene = self.image.embed(taps), self.image.embed(self._taps(lesson.scenes))
        # Logits of +-10 lose their decimals in bfloat16.
        with torch.autocast(cell.device.type, enabled=False):
            maps = torch.einsum("ndhw,pd->nphw", cell, lesson.dense.sentence)
            logits = self.image.logit_scale.exp() * maps + self.image.logit_bias
            terms = self._told(lesson, logits, box, crop, scene)
            if self.labels:
                count = len(lesson.dense.image)
                terms |= annotated(lesson.dense, logits[:count], box[:count])
        return terms

    def _taps(self, pixels: Tensor) -> list[Tensor]:
        with torch.no_grad():
            low = self.image.trunk.low(self.image.normalise(pixels))
        return self.image.trunk.high(low)

    def _told(
        self, lesson: Lesson, logits: Tensor, box: Tensor, crop: Tensor, scene: Tensor
    ) -> dict[str, Tensor]:
        """The teacher's terms; a weight of 0 leaves one out."""
        weights, grid = self.weights, (lesson.maps.shape[2], lesson.maps.shape[3])
        scale = self.image.scene_scale.exp().clamp(max=LARGEST_SCALE)
        text, own = lesson.captioned.sentence, len(lesson.captioned.same)
        terms: dict[str, Tensor] = {}
        if weights.feature:
            embedded, wanted = torch.cat((crop, scene)), torch.cat((lesson.crop, lesson.scene))
            terms["feature"] = weights.feature * feature_error(embedded, wanted)
        if weights.interactive:
            part, same = lesson.captioned.part, lesson.captioned.same
            terms["interactive"] = weights.interactive * contrast(scene[:own], text, same, scale, part, ALONE)
        if weights.affinity:
            found, wanted = scale * scene @ text.T, self.teacher_scale * lesson.scene @ text.T
            terms["affinity"] = weights.affinity * affinity_divergence(found, wanted, own)
        if weights.dense:
            terms["dense"] = weights.dense * map_distance(on_grid(logits, grid), lesson.maps)
        if weights.box and lesson.box.shape[1]:
            seen = _places(lesson).sigmoid().amax(dim=1)
            terms["box"] = weights.box * box_distance(on_grid(box, grid), lesson.box, seen)
        return terms


def annotated(batch: DenseBatch, logits: Tensor, box: Tensor) -> dict[str, Tensor]:
    """The annotations' own terms, as in pre-training (captions have theirs in `interactive`)."""
    rows = [logits[n, rows] for n, rows in batch.area_rows]
    offset, size = box_errors(box.flatten(2)[batch.owner, :, batch.cell], batch.box, batch.sized)
    return {
        "focal": map_focal(logits, batch.heat, batch.weight).mean(ALONE),
        "area": AREA_WEIGHT * area_entropy(torch.cat([logits[:0, 0], *rows]), batch.area).mean(ALONE),
        "annotated_box": BOX_WEIGHT * (offset.mean(ALONE) + size.mean(ALONE)),
    }


def _places(lesson: Lesson) -> Tensor:
    """The teacher's maps of what has boxes: areas have none."""
    kept = torch.ones(lesson.maps.shape[1], dtype=torch.bool, device=lesson.maps.device)
    for _, rows in lesson.dense.area_rows:
        kept[rows] = False
    return lesson.maps[:, kept]
