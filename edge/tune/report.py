"""What the page shows of every prompt, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.tune.scoring import probability, reaches

if TYPE_CHECKING:
    from edge.tune.crops import Crop
    from edge.tune.scoring import Scored
    from edge.tune.sightings import Sightings
    from firmware_cfg.prompt_list import Prompt

BINS = 25
_NEAR_MISS = 1.0
"""A prompt whose log-odds lie within this of the owner's might as well have been it."""


@dataclass(frozen=True, slots=True)
class PromptReport:
    """One prompt in the clip.

    Attributes:
        prompt: as the list has it.
        threshold: in force; `threshold_from` says "the list" or "the null bank".
        null_threshold: what the null bank would set.
        suggested: threshold that marks ask for, beside what else they change; None where they ask for none.
        best: highest score in the clip, 0 without a sighting.
        found: sightings that reach the threshold.
        frames: in how many frames there is one.
        histogram: sightings in BINS equal steps of the score.
        series: per frame, how many are found; of a scene prompt its score.
        rivals: (prompt id, share) of found places that score nearly as high for another prompt.
        backgrounds: (sentence, share) of the background nearest to found places.
        crops: those shown.
    """

    prompt: Prompt
    threshold: float
    threshold_from: str
    null_threshold: float
    suggested: float | None
    best: float
    found: int
    frames: int
    histogram: tuple[int, ...]
    series: tuple[float, ...]
    rivals: tuple[tuple[str, float], ...]
    backgrounds: tuple[tuple[str, float], ...]
    crops: tuple[Crop, ...]


def reports(
    sightings: Sightings,
    scored: Scored,
    crops: Sequence[Crop],
    null_thresholds: Mapping[str, float],
    suggested: Mapping[str, float],
) -> list[PromptReport]:
    """A report of every prompt of the list, in its order. `null_thresholds`, `suggested` by prompt id."""
    return [
        _report(
            sightings,
            scored,
            prompt,
            [c for c in crops if c.prompt == prompt.id],
            null_thresholds[prompt.id],
            suggested.get(prompt.id),
        )
        for prompt in scored.bank.prompt_list.prompts
    ]


def _report(
    sightings: Sightings,
    scored: Scored,
    prompt: Prompt,
    crops: Sequence[Crop],
    null_threshold: float,
    suggested: float | None,
) -> PromptReport:
    mine, odds = scored.of(prompt.id)
    score = probability(odds)
    threshold = scored.bank.thresholds[prompt.id]
    above = reaches(odds, threshold)
    frames = len(sightings.number)
    rivals: tuple[tuple[str, float], ...] = ()
    backgrounds: tuple[tuple[str, float], ...] = ()
    if prompt.kind == "scene":
        series = score
    else:
        series = np.bincount(sightings.frame[mine[above]], minlength=frames).astype(float)
        rivals = _rivals(scored, prompt.id, mine[above])
        backgrounds = _backgrounds(scored, mine[above])
    return PromptReport(
        prompt=prompt,
        threshold=threshold,
        threshold_from="the null bank" if prompt.threshold is None else "the list",
        null_threshold=null_threshold,
        suggested=suggested,
        best=float(score.max(initial=0.0)),
        found=int(above.sum()),
        frames=int((series >= threshold).sum() if prompt.kind == "scene" else (series > 0).sum()),
        histogram=tuple(np.histogram(score, BINS, (0.0, 1.0))[0].tolist()),
        series=tuple(series.tolist()),
        rivals=rivals,
        backgrounds=backgrounds,
        crops=tuple(crops),
    )


def _rivals(scored: Scored, prompt_id: str, places: np.ndarray) -> tuple[tuple[str, float], ...]:
    ids = scored.bank.layout.object_ids
    own = scored.object_odds[places, ids.index(prompt_id)]
    shares = [
        (name, float((scored.object_odds[places, column] >= own - _NEAR_MISS).mean()) if len(places) else 0.0)
        for column, name in enumerate(ids)
        if name != prompt_id
    ]
    return tuple(sorted((pair for pair in shares if pair[1] > 0), key=lambda pair: -pair[1]))


def _backgrounds(scored: Scored, places: np.ndarray) -> tuple[tuple[str, float], ...]:
    sentences = scored.bank.prompt_list.background
    if not sentences or not len(places):
        return ()
    begin = scored.bank.layout.background_begin
    nearest = scored.logits[places, begin : begin + len(sentences)].argmax(axis=1)
    shares = np.bincount(nearest, minlength=len(sentences)) / len(places)
    pairs = [(sentence, float(share)) for sentence, share in zip(sentences, shares, strict=True) if share > 0]
    return tuple(sorted(pairs, key=lambda pair: -pair[1])[:5])
