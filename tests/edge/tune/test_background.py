"""Which background sentence is suggested: the one that the wrong crops look like, and none without need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.prompts.build import build_prompt_bank
from edge.runtime import BundleRuntime
from edge.sources import open_source
from edge.tune import background
from edge.tune.collect import collect
from edge.tune.marks import Mark
from edge.tune.scoring import Scorer
from edge.tune.tuning import Tuning, tune
from firmware_cfg.prompt_list import load_prompt_list


@pytest.fixture
def tuned(
    clip: Path, listed: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Tuning]:
    """By what is marked wrong: "blue" squares, or every second of the "red" ones."""
    monkeypatch.setattr(background, "VOCABULARY", ("green", "grey", "blue blue", "blue red"))
    listed.write_text("prompts:\n- {id: colour, text: [red, blue], match: any, threshold: 0.5}\n")
    loaded, runtime = load_prompt_list(listed), BundleRuntime(tiny_bundle)
    with open_source(clip) as source:
        sightings = collect(runtime, loaded, source, "key")
        bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
    scorer = Scorer(runtime.facts, runtime.calibration)
    scored = scorer.score(sightings, bank)
    low = sightings.box[:, 1] > 40
    strong = np.argsort(-scored.object_odds[:, 0])
    red, blue = [i for i in strong if not low[i]][:16], [i for i in strong if low[i]][:8]
    marks = {
        "blue": [Mark("colour", int(i), True) for i in red[:8]]
        + [Mark("colour", int(i), False) for i in blue],
        "red": [Mark("colour", int(i), n % 2 == 0) for n, i in enumerate(red)],
    }
    return {name: tune(scorer, sightings, scored, made, runtime.sentences) for name, made in marks.items()}


def test_wrong_crops_of_a_kind_of_their_own_get_their_sentence(tuned: dict[str, Tuning]) -> None:
    (item,) = tuned["blue"].prompts
    assert item.background == "blue blue"
    assert tuned["blue"].model.background == ("blue blue",)
    assert item.left_out is not None
    assert item.left_out.right == 1.0
    assert (item.missed, item.passed) == (0, 0)


def test_wrong_crops_like_the_right_ones_get_none(tuned: dict[str, Tuning]) -> None:
    (item,) = tuned["red"].prompts
    assert item.background is None
    assert tuned["red"].model.background == ()
