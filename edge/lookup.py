"""Image embeddings against the PromptBank: scored places and scenes of one frame.

Training and evaluation call these same functions, so what they print is what the drone does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32, EngineOutput
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.letterbox import Letterbox
    from edge.prompts.bank import PromptBank, RowLayout

# Two places are one thing when their centres are nearer than this many cells, which joins neighbouring cells
# claimed by different prompts but never two peaks of one map, or when their boxes overlap more than this.
MERGE_CELLS = 1.5
MERGE_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """One thing found in a frame.

    Attributes:
        prompt: id of the object prompt it belongs to.
        score: calibrated score, 0 to 1; at least the prompt's threshold.
        raw: the margin over the background that was calibrated (natural-log units).
        box: x1, y1, x2, y2 in pixels of the source frame, clipped to it.
        embedding: (D + E,) float32 embedding of its cell, a view; None where a test or a replay has none.
    """

    prompt: str
    score: float
    raw: float
    box: tuple[float, float, float, float]
    embedding: F32 | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What the lookup says about one frame.

    Attributes:
        scene: calibrated score (0 to 1) of every scene prompt, by id.
        places: the places, best score first.
        embedding: (D,) float32 unit embedding of the whole frame, a view; None where a test has none.
        scene_raw: the cosine behind each scene score (-1 to 1), by id.
        faint: places not far below their prompt's threshold, best first: no finds of their own, but enough
            for the tracker to keep hold of a thing it knows.
        best: highest score (0 to 1) of every object prompt in the frame, by id, threshold or not; 0 without
            a peak.
    """

    scene: Mapping[str, float]
    places: tuple[Place, ...]
    embedding: F32 | None = field(default=None, compare=False, repr=False)
    scene_raw: Mapping[str, float] = field(default_factory=dict)
    faint: tuple[Place, ...] = ()
    best: Mapping[str, float] = field(default_factory=dict)


def lookup(
    output: EngineOutput,
    index: int,
    bank: PromptBank,
    calibration: Calibration,
    letterbox: Letterbox,
    *,
    stride: int = 8,
) -> FrameScores:
    """Score image `index` of an engine's output.

    A place goes to the object prompt with the largest margin over the background, and is kept if its score
    reaches that prompt's threshold; then places that show the same thing are merged, the best one stays.

    Args:
        output: what the engine returned for `bank.rows` and `bank.bias`.
        index: image within the output's batch.
        bank: the bank that the output was computed with.
        calibration: the bundle's.
        letterbox: where the frame lies in the model tile; places in the padding are dropped.
        stride: tile pixels per cell (the manifest's).

    Raises:
        EngineError: the output does not fit the bank, or holds numbers that are not numbers.
    """
    if output.scene.shape[1] != len(bank.rows) or output.place_logit.shape[2] != len(bank.rows):
        raise EngineError(
            f"the engine's output has {output.place_logit.shape[2]} rows but the prompt bank {len(bank.rows)}"
        )
    layout = bank.layout
    cosines = scene_cosines(output.scene[index], layout)
    scene_scores = calibration.scene_score(cosines)
    if np.isnan(scene_scores).any():
        raise EngineError("the engine gave scene similarities that are not numbers")
    return FrameScores(
        scene=dict(zip(layout.scene_ids, scene_scores.tolist(), strict=True)),
        places=_places(output, index, bank, calibration, letterbox, stride) if layout.object_ids else (),
        embedding=output.embedding[index],
        scene_raw=dict(zip(layout.scene_ids, cosines.tolist(), strict=True)),
    )


def object_margins(logits: F32, layout: RowLayout) -> F32:
    """Each object prompt's logit (its best row's) after competing with the background.

    m = l - log(1 + sum over background rows of exp(l_b)): the logit's margin over "none of the background".

    Args:
        logits: (K, P) float32 row logits without the rows' bias; -inf is allowed, NaN stays NaN.
        layout: where the rows lie; it has at least one object prompt.

    Returns:
        (K, number of object prompts) float32.
    """
    margins = _best_row(logits[:, : layout.scene_begin], layout.object_starts)
    background = logits[:, layout.background_begin : layout.end]
    if background.shape[1]:
        top = np.maximum(background.max(axis=1), 0)[:, None]
        total = np.exp(-top) + np.exp(background - top).sum(axis=1, keepdims=True)
        margins = margins - (top + np.log(total))
    return margins


def scene_cosines(cosines: F32, layout: RowLayout) -> F32:
    """(..., P) row cosines -> (..., number of scene prompts), each prompt's best row."""
    rows = cosines[..., layout.scene_begin : layout.background_begin]
    return _best_row(rows, layout.scene_starts - layout.scene_begin)


def merge_places(boxes: F32, radius: float, iou: float) -> NDArray[np.intp]:
    """Greedy merge of places that show one thing.

    Args:
        boxes: (N, 4) float32 x1 y1 x2 y2, best place first.
        radius: a place goes if its centre is nearer than this to a kept one's.
        iou: or if its box overlaps a kept one's by more than this intersection over union.

    Returns:
        Indices of the places that stay, ascending.
    """
    x1, y1, x2, y2 = boxes.T
    cx, cy, area = (x1 + x2) * 0.5, (y1 + y2) * 0.5, (x2 - x1) * (y2 - y1)
    near = (cx[:, None] - cx) ** 2 + (cy[:, None] - cy) ** 2 < radius * radius
    width = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    height = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    overlap = np.maximum(width, 0) * np.maximum(height, 0)
    clash = near | (overlap * (1 + iou) > iou * (area[:, None] + area))  # iou > t, without dividing by zero
    np.fill_diagonal(clash, False)
    stays = np.ones(len(boxes), np.bool_)
    for best in np.flatnonzero(clash.any(axis=1)):
        if stays[best]:
            stays[best + 1 :] &= ~clash[best, best + 1 :]
    return np.flatnonzero(stays)


def _places(
    output: EngineOutput,
    index: int,
    bank: PromptBank,
    calibration: Calibration,
    letterbox: Letterbox,
    stride: int,
) -> tuple[Place, ...]:
    margins = object_margins(output.place_logit[index] - bank.bias, bank.layout)
    owner = margins.argmax(axis=1)
    raw = np.take_along_axis(margins, owner[:, None], axis=1)[:, 0]
    if np.isnan(raw).any():
        raise EngineError("the engine gave place logits that are not numbers")
    score = calibration.object_score(raw)
    boxes = output.place_box[index]
    wanted = np.flatnonzero(
        (score >= bank.object_thresholds[owner])
        & (score > 0)  # a threshold of 0 lets every peak through, and still nothing that is none
        & letterbox.holds(boxes)
    )
    # By margin: scores near 1 are equal in float32 long before their margins are.
    wanted = wanted[np.argsort(-raw[wanted], kind="stable")]
    wanted = wanted[merge_places(boxes[wanted], MERGE_CELLS * stride, MERGE_IOU)]
    ids = bank.layout.object_ids
    return tuple(
        Place(ids[prompt], place_score, margin, (x1, y1, x2, y2), output.place_embedding[index, cell])
        for prompt, place_score, margin, (x1, y1, x2, y2), cell in zip(
            owner[wanted].tolist(),
            score[wanted].tolist(),
            raw[wanted].tolist(),
            letterbox.to_frame(boxes[wanted]).tolist(),
            wanted.tolist(),
            strict=True,
        )
    )


def _best_row(rows: F32, starts: NDArray[np.int64]) -> F32:
    """Maximum over each prompt's rows along the last axis; `starts` are the first row of each."""
    if len(starts) == rows.shape[-1]:  # one row a prompt, the common case
        return rows
    best: F32 = np.maximum.reduceat(rows, starts, axis=-1)
    return best
