"""Which background sentence is suggested: the one that the wrong crops look like, and none without need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.prompts import spread
from edge.prompts.bank import PromptBank
from edge.prompts.build import build_prompt_bank
from edge.prompts.rectification import Rectification
from edge.runtime import BundleRuntime
from edge.sources import open_source
from edge.tune import background
from edge.tune.collect import collect
from edge.tune.marks import Mark
from edge.tune.scoring import Scorer, with_background
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


def test_a_list_as_long_as_the_graph_takes_is_told_that_it_gets_none(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "GRAPH_ROWS", 2)
    tuned = request.getfixturevalue("tuned")
    assert tuned["blue"].model.background == ()
    said = {record.message for record in caplog.records if record.name == background.__name__}
    assert said == {"colour: no background sentence is suggested: the list has 2 rows already (at most 1)"}


def test_further_background_rows_are_read_on_the_host_where_the_graph_is_full(
    listed: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "GRAPH_ROWS", 2)
    listed.write_text("prompts:\n- {id: colour, text: [red, blue], match: any, threshold: 0.5}\n")
    runtime = BundleRuntime(tiny_bundle)
    bank = build_prompt_bank(load_prompt_list(listed), runtime.sentences, runtime.facts, runtime.calibration)
    more = with_background(bank, bank.rows[:1], np.zeros(1, np.float32), runtime.facts)
    assert bank.spread is None
    assert more.spread is not None
    assert more.spread.weights.shape[1] == len(more.rows) == len(more.bias) == len(more.row_owner) == 3
    assert len(more.graph_rows) == 2


def test_a_rectified_model_s_further_background_is_what_the_list_would_have_made_of_it(
    listed: Path, clip: Path, tiny_bundle: Bundle
) -> None:
    runtime = BundleRuntime(tiny_bundle)
    chance, facts = np.random.default_rng(3), runtime.facts
    weight = chance.normal(size=(facts.embedding_width, 1 + facts.row_width - facts.embedding_width))
    rectification = Rectification(weight.astype(np.float32), np.full(weight.shape[1], 0.5, np.float32))
    calibration = replace(runtime.calibration, rectification=rectification)
    scorer = Scorer(facts, calibration)

    def bank(background: str) -> PromptBank:
        listed.write_text(f"prompts:\n- {{id: red, text: red, threshold: 0.5}}\nbackground: [{background}]\n")
        return build_prompt_bank(load_prompt_list(listed), runtime.sentences, facts, calibration)

    named = bank("grey grey, green")
    rows, bias = scorer.background_rows(runtime.sentences.encode(["green"]))
    further = with_background(bank("grey grey"), rows, bias, facts)
    np.testing.assert_array_equal(further.rows, named.rows)
    np.testing.assert_allclose(further.row_bias, named.row_bias, atol=1e-3)
    with open_source(clip) as source:
        sightings = collect(runtime, load_prompt_list(listed), source, "key")
    scored = scorer.score(sightings, named)
    peaks = sightings.peaks.all(axis=1)
    plain = scorer.logits(sightings.embedding, named.rows)[peaks]
    np.testing.assert_allclose(scored.logits[peaks] - plain, named.row_bias + 0 * plain, atol=1e-3)
    assert np.abs(named.row_bias).min() > 0.01
