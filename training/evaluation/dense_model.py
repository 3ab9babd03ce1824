"""A checkpoint's dense maps: the logits that the drone's lookup ranks, at every cell, not at 300 places."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge.bundle.calibration import Calibration
from edge.bundle.manifest import SIZE_MULTIPLE
from edge.engines.base import F32
from edge.frames import RgbImage
from edge.letterbox import Letterbox, best_image_size, letterbox
from edge.lookup import object_margins
from edge.prompts.bank import PromptBank
from edge.prompts.build import build_prompt_bank, in_memory_list
from edge.prompts.rectification import Rectification
from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import AnyCheckpoint, ClipCheckpoint
from training.evaluation.subject import CheckpointRuntime
from training.models.lite import position_features

Size = tuple[int, int]
_STRIP = 4_000_000  # numbers at a time where maps are brought to an image's resolution; bounds the memory


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What the image tower says of one image.

    Attributes:
        cell: (D + E, h, w) float32: every cell's unit embedding, then its position features.
        fit: where the image lies in the tile.
        stride: tile pixels per cell.
    """

    cell: Tensor
    fit: Letterbox
    stride: int


class DenseModel:
    """A checkpoint of either family, for its maps. Everything is float32."""

    def __init__(self, checkpoint: AnyCheckpoint) -> None:
        self._checkpoint = checkpoint
        self._runtime = CheckpointRuntime(checkpoint)
        self._tower = checkpoint.towers.places if isinstance(checkpoint, ClipCheckpoint) else checkpoint.image

    @property
    def calibration(self) -> Calibration:
        """The checkpoint's own: see CheckpointRuntime."""
        return self._runtime.calibration

    def bank(self, prompts: PromptList, rectification: Rectification | None) -> PromptBank:
        """The list's rows as the drone would fill them. Raises as `build_prompt_bank`."""
        calibration = replace(self.calibration, rectification=rectification)
        loaded = in_memory_list(prompts)
        return build_prompt_bank(loaded, self._runtime.sentences, self._runtime.facts, calibration)

    def check_size(self, size: Size) -> None:
        """Raise UsageError unless (width, height) is a tile that the tower takes."""
        step = self._runtime.facts.stride if isinstance(self._checkpoint, ClipCheckpoint) else SIZE_MULTIPLE
        if min(size) < step or size[0] % step or size[1] % step:
            name = self._checkpoint.spec.model
            raise UsageError(f"image size {size[0]}x{size[1]}: {name} takes multiples of {step}")

    @torch.inference_mode()
    def look(self, image: RgbImage, size: Size | None = None) -> Cells:
        """The cells of an image in a tile of (width, height); default: the one that suits it."""
        facts = self._runtime.facts
        width, height = size or best_image_size(image.width, image.height, facts.image_sizes)
        tile, fit = letterbox(image, width, height)
        cell = self._tower(torch.from_numpy(tile[None])).cell[0]
        place = position_features(cell.shape[1], cell.shape[2], cell)
        return Cells(torch.cat((cell, place)), fit, facts.stride)

    @torch.inference_mode()
    def logits(self, seen: Cells, bank: PromptBank) -> F32:
        """(P, h, w) float32 dense logits of every row: exp(s) * <cell, row> + b + the row's bias."""
        facts = self._runtime.facts
        rows = torch.from_numpy(bank.rows * np.float32(facts.logit_scale))
        offset = torch.from_numpy(np.float32(facts.logit_bias) + bank.row_bias)
        maps = torch.einsum("pc,chw->phw", rows, seen.cell) + offset.view(-1, 1, 1)
        found: F32 = maps.numpy()
        return found


def answers(
    logits: F32,
    bank: PromptBank,
    calibration: Calibration,
    seen: Cells,
    shape: tuple[int, int],
    least: float | None,
) -> NDArray[np.int16]:
    """The prompt that wins at every pixel, as its number in the list; P where the background does.

    The list has object prompts only. A prompt's logit is its best row's, corrected as the list says; the best
    background sentence competes as one more prompt. Not the winners but the maps are brought to the image's
    resolution, bilinearly.

    Args:
        logits: (rows, h, w) of `DenseModel.logits`; `seen` what they were made from.
        bank, calibration: that they were made with.
        shape: (H, W) of the image, or of its mask.
        least: calibrated score (0 to 1) below which a pixel is background; None: no such limit.

    Returns:
        (H, W) int16.
    """
    layout = bank.layout
    count = len(layout.object_ids)
    flat = logits.reshape(len(logits), -1).T
    # Over no background a prompt's margin is its own logit.
    alone = object_margins(flat, replace(layout, end=layout.background_begin))
    maps = [bank.object_correction.apply(alone)]
    if layout.end > layout.background_begin:
        maps.append(flat[:, layout.background_begin :].max(axis=1, keepdims=True))
    if least is not None:
        scores = calibration.object_score(bank.object_correction.apply(object_margins(flat, layout)))
        maps.append(scores.max(axis=1, keepdims=True))
    stacked = np.concatenate(maps, axis=1).T.reshape(-1, *logits.shape[1:])
    found = np.empty(shape, np.int16)
    rows = max(1, _STRIP // (len(stacked) * shape[1]))
    for top in range(0, shape[0], rows):
        strip = resampled(stacked, seen, shape, slice(top, min(top + rows, shape[0])))
        sentences = strip[: len(strip) - (least is not None)]
        winner = np.minimum(sentences.argmax(axis=0), count)
        if least is not None:
            winner[strip[-1] < least] = count
        found[top : top + rows] = winner
    return found


def resampled(maps: F32, seen: Cells, shape: tuple[int, int], rows: slice) -> F32:
    """Maps (C, h, w) over the tile's cells at the pixel centres of some rows of an image, bilinearly.

    Beyond the centres of the outermost cells a map stays what it is there. shape: (H, W) of the image;
    `rows`: which of its rows. Returns (C, rows, W) float32.
    """
    height, width = shape
    fit = seen.fit
    x = (np.arange(width) + 0.5) * (fit.content_width / width) + fit.pad_x
    y = (np.arange(rows.start, rows.stop) + 0.5) * (fit.content_height / height) + fit.pad_y
    # grid_sample counts from -1 to 1 between the outer edges of the tile.
    across = torch.from_numpy((2 * x / fit.width - 1).astype(np.float32))
    down = torch.from_numpy((2 * y / fit.height - 1).astype(np.float32))
    grid = torch.stack((across.expand(len(down), -1), down.view(-1, 1).expand(-1, len(across))), dim=2)
    found: F32 = F.grid_sample(
        torch.from_numpy(maps)[None], grid[None], "bilinear", "border", align_corners=False
    )[0].numpy()
    return found
