"""What marks do to a prompt's threshold and to what counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.prompts.build import build_prompt_bank, in_memory_list
from edge.runtime import BundleRuntime
from edge.sources import open_source
from edge.tune.collect import collect
from edge.tune.marks import Mark
from edge.tune.scoring import Scored, Scorer, probability
from edge.tune.tuning import Tuning, tune
from firmware_cfg.prompt_list import load_prompt_list

Judge = Callable[[np.ndarray], dict[int, bool]]
Tune = Callable[[str, Judge], tuple[Scored, Tuning, Scored]]


@pytest.fixture
def tuned(clip: Path, listed: Path, tiny_bundle: Bundle) -> Tune:
    """By what is said of prompt "red" and by marks of its places, given their scores, best first."""

    def run(said: str, judge: Judge) -> tuple[Scored, Tuning, Scored]:
        listed.write_text(f"prompts: [{{id: red, text: red{said}}}]\nbackground: [grey grey]\n")
        loaded, runtime = load_prompt_list(listed), BundleRuntime(tiny_bundle)
        with open_source(clip) as source:
            sightings = collect(runtime, loaded, source, "key")
        scorer = Scorer(runtime.facts, runtime.calibration)

        def score(given: object) -> Scored:
            return scorer.score(
                sightings, build_prompt_bank(given, runtime.sentences, runtime.facts, runtime.calibration)
            )

        before = score(loaded)
        mine, odds = before.of("red")
        order = np.argsort(-odds, kind="stable")
        marks = [
            Mark("red", int(mine[order[n]]), right) for n, right in judge(probability(odds[order])).items()
        ]
        tuning = tune(scorer, sightings, before, marks, runtime.sentences)
        return before, tuning, score(in_memory_list(tuning.model))

    return run


def best_wrong(scores: np.ndarray) -> dict[int, bool]:
    return dict.fromkeys(range(8), False)


@pytest.mark.parametrize("said", ["", ", threshold: 0.5", ", threshold: 0.05", ", threshold: 0"])
def test_what_is_marked_wrong_counts_no_more_and_nothing_weaker_does(tuned: Tune, said: str) -> None:
    before, tuning, after = tuned(said, best_wrong)
    assert len(before.found("red")) >= 35
    (item,) = tuning.prompts
    assert (item.missed, item.passed) == (0, 0)
    assert tuning.model.prompts[0].threshold == item.threshold >= 0.05
    assert len(after.found("red")) == 0


def test_a_threshold_that_the_marks_speak_against_moves_with_the_scores(tuned: Tune) -> None:
    # Of all places every third, right above 0.65: at the threshold where the count came out right one of the
    # marks would be told wrong that the threshold in force tells right.
    before, tuning, after = tuned(
        ", threshold: 0.8, review_below: 0.9", lambda s: {n: bool(s[n] > 0.65) for n in range(0, len(s), 3)}
    )
    (item,) = tuning.prompts
    assert item.before.right == 1.0
    assert item.left_out is not None
    assert item.threshold is not None
    assert item.threshold < 0.79
    assert after.found("red").tolist() == before.found("red").tolist()
    # Who was sure before is sure now.
    assert item.review_below is not None
    assert item.threshold < item.review_below < 0.9
    _, old = before.of("red")
    _, new = after.of("red")
    assert (probability(old) >= 0.9).sum() == (probability(new) >= item.review_below).sum()
    assert tuning.model.prompts[0].review_below == item.review_below
    assert any("review_below follows the scores" in note for note in tuning.notes)


def test_review_below_is_never_below_the_threshold(tuned: Tune) -> None:
    _, tuning, _ = tuned(", threshold: 0.5, review_below: 0.6", best_wrong)
    prompt = tuning.model.prompts[0]
    assert (prompt.threshold, prompt.review_below) == (0.5, 0.5)
