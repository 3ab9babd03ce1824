"""Marks of every prompt -> what to change in the list, and what each change is good for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.tune.background import Suggested, suggest
from edge.tune.calibrate import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    Bools,
    Judgement,
    Line,
    best_threshold,
    fit,
    judge,
    leave_one_out,
)
from edge.tune.scoring import Ints, base_odds, log_odds, probability, reaches, with_background

if TYPE_CHECKING:
    from edge.prompts.text_encoder import SentenceEncoder
    from edge.tune.marks import Mark
    from edge.tune.scoring import Scored, Scorer
    from edge.tune.sightings import Sightings
    from firmware_cfg.prompt_list import Prompt, PromptList

WORTH = 0.98
"""A line is taken where it brings the loss on marks left out below this share of what it is without it."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """One prompt after its marks.

    Attributes:
        prompt: its id.
        positive, negative: how many marks of each kind.
        before: how the scores in force judge the marks.
        left_out: how the new ones do, each mark by what the others give; None where nothing was found better.
        line: bias and temperature to use: the old ones where new ones do not help.
        threshold: to use; None where the one in force stays.
        review_below: to use; None where the list sets none.
        background: a sentence to add, or None.
        missed, passed: marked right and now below the threshold; marked wrong and still above it.
    """

    prompt: str
    positive: int
    negative: int
    before: Judgement
    left_out: Judgement | None
    line: Line
    threshold: float | None
    review_below: float | None
    background: str | None
    missed: int
    passed: int

    @property
    def worse(self) -> bool:
        """Whether fewer marks are told right than before, by scores and threshold that do not know them."""
        n = self.positive + self.negative
        now = 1 - (self.missed + self.passed) / n if self.left_out is None else self.left_out.right
        return now < self.before.right - 1e-9


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the marks came to: prompt by prompt, and the list that follows."""

    prompts: tuple[Tuned, ...]
    model: PromptList
    notes: tuple[str, ...]

    @property
    def warning(self) -> str | None:
        """Why the list that follows is not to be used, and what to do; None where it may be."""
        worse = [item.prompt for item in self.prompts if item.worse]
        if not worse:
            return None
        return (
            f"{', '.join(worse)}: the change tells marks apart worse than before, so it is not to be written"
            " (mark more crops, or drop the doubtful ones)"
        )

    @property
    def suggested(self) -> dict[str, float]:
        """Thresholds that the marks ask for, by prompt id; they go with the list's other changes."""
        return {
            item.prompt: item.threshold
            for item in self.prompts
            if item.threshold is not None and not item.worse
        }


def tune(
    scorer: Scorer,
    sightings: Sightings,
    scored: Scored,
    marks: Sequence[Mark],
    encoder: SentenceEncoder,
) -> Tuning:
    """The list that the marks ask for; prompts without marks stay as they are.

    Raises:
        EngineError, MissingExtra: the text tower failed.
    """
    model = scored.bank.prompt_list
    by_prompt: dict[str, list[Mark]] = {}
    for mark in marks:
        by_prompt.setdefault(mark.prompt, []).append(mark)
    found: list[tuple[Prompt, _Marked, Suggested | None]] = []
    for prompt in model.prompts:
        if prompt.id in by_prompt:
            marked = _Marked.of(prompt, by_prompt[prompt.id])
            sentence = None
            if prompt.kind == "object":
                sentence = suggest(
                    scorer, sightings, scored, prompt, marked.index, marked.right, marked.prior, encoder
                )
            found.append((prompt, marked, sentence))
    after = scored
    further = {item.sentence: item for *_, item in found if item is not None}
    if further:
        rows = np.concatenate([item.row for item in further.values()])
        bias = np.concatenate([item.bias for item in further.values()])
        after = scorer.score(sightings, with_background(scored.bank, rows, bias, scorer.facts))
    tuned = tuple(_tuned(scored, after, prompt, marked, item) for prompt, marked, item in found)
    return _tuning(model, tuned, tuple(further))


@dataclass(frozen=True, slots=True, eq=False)
class _Marked:
    """A prompt's marks as numbers: sightings, right or wrong, and the line in force."""

    index: Ints
    right: Bools
    prior: Line

    @classmethod
    def of(cls, prompt: Prompt, marks: Sequence[Mark]) -> _Marked:
        index = np.array([mark.index for mark in marks], np.int64)
        right = np.array([mark.right for mark in marks], np.bool_)
        return cls(index, right, Line.of(prompt.bias, prompt.temperature))


def _tuned(
    before: Scored, after: Scored, prompt: Prompt, marked: _Marked, sentence: Suggested | None
) -> Tuned:
    right, prior = marked.right, marked.prior
    in_force = before.bank.thresholds[prompt.id]
    every = base_odds(after, prompt)
    u = every[marked.index]
    left_out = leave_one_out(u, right, prior)
    helps = judge(left_out, right).loss < WORTH * judge(prior(u), right).loss
    line = fit(u, right, prior) if helps else prior
    mine, _ = after.of(prompt.id)
    judged_before = judge(prior(base_odds(before, prompt)[marked.index]), right, in_force)
    threshold = best_threshold(line(every[mine]))
    if threshold is None and helps:
        # Nothing is more likely than not. The threshold in force holds for the new scores: were it moved with
        # them, marks that are all wrong would take nothing away. The null bank's would move by itself.
        threshold = max(LOWEST_THRESHOLD, round(in_force, 2) if prompt.threshold is None else in_force)
        if not right.any():  # and no such thing counts any more, even where that was next to nothing
            highest = float(probability(line(u)).max())
            threshold = max(threshold, math.ceil(100 * highest + 0.5) / 100)
    if threshold is not None:
        judged = judge(left_out if helps else prior(u), right, threshold)
        if judged.right < judged_before.right - _doubt(judged_before.right, len(right)):
            # The marks speak against it: what is counted stays as it is, whatever the scores are now.
            cut = float(np.clip(_same_cut(in_force, prior, line), LOWEST_THRESHOLD, HIGHEST_THRESHOLD))
            threshold = cut if helps else None
    used = in_force if threshold is None else threshold
    above = reaches(line(u), used)
    return Tuned(
        prompt=prompt.id,
        positive=int(right.sum()),
        negative=int((~right).sum()),
        before=judged_before,
        left_out=judge(left_out, right, used) if helps else None,
        line=line,
        threshold=threshold,
        review_below=_review_below(prompt, prior, line, threshold),
        background=None if sentence is None else sentence.sentence,
        missed=int((right & ~above).sum()),
        passed=int((~right & above).sum()),
    )


def _same_cut(threshold: float, before: Line, after: Line) -> float:
    """The threshold, in hundredths, that lets the same through by another line."""
    u = (log_odds(threshold) - before.shift) / before.slope
    return round(float(probability(after(u))), 2)


def _review_below(prompt: Prompt, before: Line, after: Line, threshold: float | None) -> float | None:
    """What was sure enough by the old scores is so by the new ones, and nothing is surer than it counts."""
    if prompt.review_below is None:
        return None
    moved = prompt.review_below if after == before else _same_cut(prompt.review_below, before, after)
    return max(moved, threshold or prompt.threshold or 0.0)


def _doubt(share: float, n: int) -> float:
    """Standard error of a share among n marks."""
    return math.sqrt(share * (1 - share) / n)


def _tuning(model: PromptList, tuned: Sequence[Tuned], sentences: tuple[str, ...]) -> Tuning:
    by_id = {item.prompt: item for item in tuned}
    prompts, notes = [], list[str]()
    for prompt in model.prompts:
        item = by_id.get(prompt.id)
        if item is not None:
            update, said = _changes(prompt, item)
            prompt = prompt.model_copy(update=update)
            notes += said
        prompts.append(prompt)
    background = (*model.background, *sentences)
    changed = model.model_copy(update={"prompts": tuple(prompts), "background": background})
    return Tuning(tuple(tuned), changed, tuple(notes))


def _changes(prompt: Prompt, item: Tuned) -> tuple[dict[str, float], list[str]]:
    update: dict[str, float] = {}
    notes = []
    bias, temperature = round(item.line.bias, 2), round(item.line.temperature, 2)
    if (bias, temperature) != (round(prompt.bias, 2), round(prompt.temperature, 2)):
        update |= {"bias": bias, "temperature": temperature}
    threshold = item.threshold
    if threshold is not None and threshold != prompt.threshold:
        update["threshold"] = threshold
    if item.review_below is not None and item.review_below != prompt.review_below:
        update["review_below"] = item.review_below
        notes.append(f"{prompt.id}: review_below follows the scores to {item.review_below:g}")
    if "bias" in update and any(
        term.kind == "score" for alert in prompt.alerts for *_, term, _ in alert.located_terms()
    ):
        notes.append(f"{prompt.id}: its alerts ask for a score, and scores have changed: read them again")
    return update, notes
