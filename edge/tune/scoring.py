"""Sightings under a prompt bank: who owns each place and how it scores, without the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.lookup import object_margins
from edge.prompts.bank import BACKGROUND_BIAS, BACKGROUND_OWNER
from edge.prompts.spread import NO_PEAK, SpreadRows

if TYPE_CHECKING:
    from edge.bundle.calibration import Calibration
    from edge.prompts.bank import PromptBank
    from edge.runtime import ModelFacts
    from edge.tune.sightings import Sightings
    from firmware_cfg.prompt_list import Prompt

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]
_EDGE = 1e-6
"""Thresholds of 0 and 1 have no odds: they are taken as this far from it."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Log-odds of the calibrated scores, which tell apart what a score near 1 no longer does.

    Attributes:
        object_odds: (N, object prompts) of every place, in the order of `bank.layout.object_ids`.
        scene_odds: (F, scene prompts) of every frame.
        logits: (N, rows) of every place, background rows included; before any calibration. Without a peak of
            the row there it is NO_PEAK, of object rows.
        owner: (N,) the object prompt that each place belongs to.
        bank: by which it was scored.
    """

    object_odds: F64
    scene_odds: F64
    logits: F32
    owner: Ints
    bank: PromptBank

    def of(self, prompt_id: str) -> tuple[Ints, F64]:
        """The prompt's own sightings: indices of places (frames, of a scene prompt), and their log-odds."""
        layout = self.bank.layout
        if prompt_id in layout.scene_ids:
            odds = self.scene_odds[:, layout.scene_ids.index(prompt_id)]
            return np.arange(len(odds)), odds
        column = layout.object_ids.index(prompt_id)
        mine = np.flatnonzero(self.owner == column)
        return mine, self.object_odds[mine, column]

    def peaks(self, prompt_id: str) -> NDArray[np.bool_]:
        """(N,) at which places an object prompt has a peak: it can own those, and no other one."""
        column = self.bank.layout.object_ids.index(prompt_id)
        begin = self.bank.layout.object_starts[column]
        ends = np.append(self.bank.layout.object_starts[1:], self.bank.layout.scene_begin)
        return np.asarray((self.logits[:, begin : ends[column]] > NO_PEAK / 2).any(axis=1))

    def found(self, prompt_id: str) -> Ints:
        """Indices of the sightings that reach the prompt's threshold."""
        mine, odds = self.of(prompt_id)
        return mine[reaches(odds, self.bank.thresholds[prompt_id])]


class Scorer:
    """Scores by one model's numbers."""

    def __init__(self, facts: ModelFacts, calibration: Calibration) -> None:
        self.facts = facts
        self.calibration = calibration

    def score(self, sightings: Sightings, bank: PromptBank) -> Scored:
        """Every sighting under the bank, whose list has the scene prompts that the sightings are of."""
        layout, (a, c) = bank.layout, self.calibration.platt_object
        logits = self.logits(sightings.embedding, bank.rows) + bank.row_bias
        logits[:, : layout.scene_begin][~sightings.peaks] = NO_PEAK
        odds = np.zeros((len(logits), len(layout.object_ids)))
        if odds.size:
            odds = a * bank.object_correction.apply(object_margins(logits, layout)).astype(np.float64) + c
        slope, offset = self.calibration.platt_scene
        scene_odds = np.zeros((len(sightings.number), 0))
        if layout.scene_ids:
            scene_odds = slope * bank.scene_correction.apply(sightings.scene_raw).astype(np.float64) + offset
        owner = odds.argmax(axis=1) if odds.shape[1] else np.zeros(len(odds), np.int64)
        return Scored(odds, scene_odds, logits, owner, bank)

    def background_rows(self, sentences: F32) -> tuple[F32, F32]:
        """Of unit embeddings (K, D) the rows (K, D + E), and what is added to their logits (K,)."""
        rows = np.zeros((len(sentences), self.facts.row_width), np.float32)
        bias, width = np.zeros(len(sentences), np.float32), sentences.shape[1]
        rows[:, :width] = sentences
        if self.calibration.rectification is not None:
            bias, rows[:, width:] = self.calibration.rectification.fill(sentences)
        return rows, bias

    def logits(self, embeddings: NDArray[np.floating], rows: F32) -> F32:
        """(N, D + E) place embeddings against (P, D + E) rows, as in the graph's maps: (N, P) float32."""
        if not len(embeddings):
            return np.zeros((0, len(rows)), np.float32)
        cosine = embeddings.astype(np.float32) @ rows.T
        logits: F32 = cosine * np.float32(self.facts.logit_scale) + np.float32(self.facts.logit_bias)
        return logits


def base_odds(scored: Scored, prompt: Prompt) -> F64:
    """(N,) or (F,) the bundle's log-odds of every sighting for a prompt, without its bias and temperature."""
    layout = scored.bank.layout
    if prompt.kind == "scene":
        odds = scored.scene_odds[:, layout.scene_ids.index(prompt.id)]
    else:
        odds = scored.object_odds[:, layout.object_ids.index(prompt.id)]
    return np.asarray(odds * prompt.temperature - prompt.bias)


def with_background(bank: PromptBank, rows: F32, row_bias: F32, facts: ModelFacts) -> PromptBank:
    """The bank with further background rows (K, D + E) and what is added to their logits (K,).

    For scoring only: its list does not name them.
    """
    every = np.concatenate([bank.rows, rows])
    bias = np.concatenate([bank.bias, row_bias + np.float32(BACKGROUND_BIAS)])
    owner = np.concatenate([bank.row_owner, np.full(len(rows), BACKGROUND_OWNER, np.int64)])
    layout = replace(bank.layout, end=len(every))
    spread = SpreadRows.of(every, bias, layout, facts)
    return replace(bank, rows=every, bias=bias, row_owner=owner, layout=layout, spread=spread)


def log_odds(score: float | F64) -> F64:
    """Of scores from 0 to 1, both taken as just inside."""
    inside = np.clip(np.asarray(score, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def probability(odds: float | F64) -> F64:
    """Scores, 0 to 1, of log-odds."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(odds, np.float64))))


def reaches(odds: F64, threshold: float) -> NDArray[np.bool_]:
    """Which log-odds make a score of at least the threshold."""
    return probability(odds) >= threshold
