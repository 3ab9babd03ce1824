"""Image embeddings against the PromptBank: scored places and scenes of one frame.

Training and evaluation call these same functions, so what they print is what the drone does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.candidates import Candidates, find_candidates
from edge.engines.base import F32, EngineOutput
from firmware_cfg.errors import EngineError

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.letterbox import Letterbox
    from edge.prompts.bank import PromptBank, RowLayout


@dataclass(frozen=True, slots=True)
class Place:
    """One thing found in a frame.

    Attributes:
        prompt: id of the object prompt it belongs to.
        score: calibrated score, 0 to 1; at least the prompt's threshold, unless the place is faint.
        raw: its margin over the background (natural-log units), before the prompt's bias and temperature.
        box: x1, y1, x2, y2 in pixels of the source frame, clipped to it.
        embedding: (D + E,) float32 embedding of its cell; None where a test or a replay has none.
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
        embedding: (D,) float32 unit embedding of the whole frame; None where a test has none.
        scene_raw: the cosine behind each scene score (-1 to 1), by id.
        faint: places not far below their prompt's threshold, best first: no finds of their own, but enough
            for the tracker to keep hold of a thing it knows.
        best: highest score (0 to 1) of the places that belong to each object prompt, by id, threshold or
            not; 0 where none does.
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

    A place goes to the object prompt with the largest margin over the background (moved by the prompt's bias
    and temperature), and is kept if its score reaches that prompt's threshold; then places that show the same
    thing are merged, the best one stays. What falls short by little is merged in after them, as faint.

    Args:
        output: what the engine returned for `bank.graph_rows` and `bank.graph_bias`.
        index: image within the output's batch.
        bank: the bank that the output was computed with.
        calibration: the bundle's.
        letterbox: where the frame lies in the model tile; places in the padding are dropped.
        stride: tile pixels per cell (the manifest's).

    Raises:
        EngineError: the output does not fit the bank, or holds numbers that are not numbers.
    """
    margins = place_margins(output, index, bank)
    return frame_scores(
        find_candidates(margins, output.place_box[index], bank, calibration, letterbox, stride),
        output.place_embedding[index],
        output,
        index,
        bank,
        calibration,
    )


def place_margins(output: EngineOutput, index: int, bank: PromptBank) -> F32:
    """(M, number of object prompts) float32 margins of one image's places over the background.

    Raises:
        EngineError: the output does not fit the bank.
    """
    if not bank.layout.object_ids:
        check_fit(output, bank)
        return np.zeros((output.place_logit.shape[1], 0), np.float32)
    return object_margins(place_logits(output, index, bank), bank.layout)


def place_logits(output: EngineOutput, index: int, bank: PromptBank) -> F32:
    """(M, P) float32 logits of one image's places by the bank's rows, without what keeps rows silent.

    Of an object row without a peak there it is far below every logit (see LookupGraph). Raises EngineError:
    the output does not fit the bank.
    """
    check_fit(output, bank)
    if bank.spread is not None:
        return bank.spread.logits(output, index)
    logits: F32 = output.place_logit[index] - bank.silence
    return logits


def frame_cosines(output: EngineOutput, index: int, bank: PromptBank) -> F32:
    """(number of scene prompts,) float32 cosines of one image as a whole, each prompt's best row.

    Raises EngineError: the output does not fit the bank.
    """
    check_fit(output, bank)
    layout = bank.layout
    if bank.spread is None:
        return scene_cosines(output.scene[index], layout)
    embedding = output.embedding[index]
    rows = bank.rows[layout.scene_begin : layout.background_begin, : len(embedding)]
    return _best_row(rows @ embedding, layout.scene_starts - layout.scene_begin)


def check_fit(output: EngineOutput, bank: PromptBank) -> None:
    """Refuse an output that was not computed with this bank. Raises EngineError."""
    rows = len(bank.graph_rows)
    if output.scene.shape[1] != rows or output.place_logit.shape[2] != rows:
        raise EngineError(
            f"the engine's output has {output.place_logit.shape[2]} rows but the prompt bank {rows}"
        )


def frame_scores(
    found: Candidates,
    embeddings: F32,
    output: EngineOutput,
    index: int,
    bank: PromptBank,
    calibration: Calibration,
) -> FrameScores:
    """What `found` and the whole frame, image `index` of the output, come to.

    Args:
        embeddings: (..., D + E) float32, the place embeddings that `found.cell` counts in.

    Raises:
        EngineError: the scene similarities are not numbers.
    """
    layout = bank.layout
    cosines = frame_cosines(output, index, bank)
    scene_scores = calibration.scene_score(bank.scene_correction.apply(cosines))
    if np.isnan(scene_scores).any():
        raise EngineError("the engine gave scene similarities that are not numbers")
    places = _places(found, embeddings, layout.object_ids)
    return FrameScores(
        scene=dict(zip(layout.scene_ids, scene_scores.tolist(), strict=True)),
        places=places[: found.firm],
        embedding=output.embedding[index].copy(),
        scene_raw=dict(zip(layout.scene_ids, cosines.tolist(), strict=True)),
        faint=places[found.firm :],
        best=dict(zip(layout.object_ids, found.best.tolist(), strict=True)),
    )


def object_margins(logits: F32, layout: RowLayout) -> F32:
    """Each object prompt's logit (its best row's) after competing with the background.

    m = l - log(1 + sum over background rows of exp(l_b)): the logit's margin over "none of the background".

    Args:
        logits: (K, P) float32 row logits (see `place_logits`); -inf is allowed, NaN stays NaN.
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


def _places(found: Candidates, embeddings: F32, ids: tuple[str, ...]) -> tuple[Place, ...]:
    # Copies, a row each: the engine overwrites its output while places live on in tracks.
    return tuple(
        Place(ids[prompt], score, raw, (x1, y1, x2, y2), embeddings[cell].copy())
        for prompt, score, raw, (x1, y1, x2, y2), cell in zip(
            found.owner.tolist(),
            found.score.tolist(),
            found.raw.tolist(),
            found.box.tolist(),
            found.cell.tolist(),
            strict=True,
        )
    )


def _best_row(rows: F32, starts: NDArray[np.int64]) -> F32:
    """Maximum over each prompt's rows along the last axis; `starts` are the first row of each."""
    if len(starts) == rows.shape[-1]:  # one row a prompt, the common case
        return rows
    best: F32 = np.maximum.reduceat(rows, starts, axis=-1)
    return best
