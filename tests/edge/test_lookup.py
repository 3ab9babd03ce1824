"""The lookup: who owns a place, what competes, what is merged, what lies outside."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.bundle.calibration import Calibration
from edge.candidates import FAINT_ODDS, faint_thresholds, merge_places
from edge.engines import EngineOutput
from edge.letterbox import Letterbox
from edge.lookup import lookup, object_margins, scene_cosines
from edge.prompts.bank import BACKGROUND_BIAS, Correction, PromptBank, RowLayout
from firmware_cfg.errors import EngineError
from firmware_cfg.prompt_list import Prompt, PromptList

CALIBRATION = Calibration(
    null_cells=np.zeros((1, 8), np.float32),
    null_scenes=np.zeros((1, 6), np.float32),
    platt_object=(1.0, 0.0),
    platt_scene=(10.0, -5.0),
    false_alarm_rate_object=0.01,
    false_alarm_rate_scene=0.01,
)
WHOLE_TILE = Letterbox.fit(128, 64, 128, 64)


def make_bank(
    objects: dict[str, int], scenes: dict[str, int] | None = None, background: int = 0, threshold: float = 0.5
) -> PromptBank:
    """A bank by the number of rows of each prompt; the lookup never reads the rows themselves."""
    scenes = scenes or {}
    starts = np.cumsum([0, *objects.values(), *scenes.values()])
    scene_begin, background_begin = sum(objects.values()), int(starts[-1])
    end = background_begin + background
    bias = np.zeros(end, np.float32)
    bias[scene_begin:] = BACKGROUND_BIAS
    return PromptBank(
        prompt_list=PromptList(prompts=[{"id": name, "text": name} for name in {**objects, **scenes}]),
        list_sha256="0" * 64,
        rows=np.zeros((end, 8), np.float32),
        bias=bias,
        row_owner=np.full(end, -1, np.int64),
        thresholds=dict.fromkeys({**objects, **scenes}, threshold),
        review_below={},
        object_thresholds=np.full(len(objects), threshold),
        layout=RowLayout(
            object_ids=tuple(objects),
            object_starts=starts[: len(objects)].astype(np.int64),
            scene_ids=tuple(scenes),
            scene_starts=starts[len(objects) : len(objects) + len(scenes)].astype(np.int64),
            scene_begin=scene_begin,
            background_begin=background_begin,
            end=end,
        ),
    )


def make_output(
    bank: PromptBank,
    centres: list[tuple[float, float]],
    logits: list[list[float]],
    side: float = 10.0,
    **more: Any,
) -> EngineOutput:
    """One image's output with square boxes; `logits` are without the bank's bias."""
    middle = np.array(centres, np.float32).reshape(-1, 2)
    rows = len(bank.rows)
    fields: dict[str, Any] = {
        "scene": np.zeros((1, rows), np.float32),
        "embedding": np.ones((1, 6), np.float32),
        "place_box": np.concatenate([middle - side / 2, middle + side / 2], axis=1)[None],
        "place_embedding": np.arange(len(middle) * 8, dtype=np.float32).reshape(1, -1, 8),
        "place_logit": (np.array(logits, np.float32).reshape(-1, rows) + bank.bias)[None],
    }
    return EngineOutput(**{**fields, **more})


def find(bank: PromptBank, output: EngineOutput, fit: Letterbox = WHOLE_TILE) -> list[tuple[str, float]]:
    """(prompt, score to two digits) of the places found."""
    return [
        (place.prompt, round(place.score, 2)) for place in lookup(output, 0, bank, CALIBRATION, fit).places
    ]


def test_a_place_belongs_to_the_prompt_with_the_largest_margin() -> None:
    bank = make_bank({"car": 1, "truck": 1})
    output = make_output(bank, [(20, 20), (80, 20)], [[1, 3], [2, 0]])
    scores = lookup(output, 0, bank, CALIBRATION, WHOLE_TILE)
    assert [place.prompt for place in scores.places] == ["truck", "car"]
    assert scores.places[0].score == pytest.approx(1 / (1 + math.exp(-3)), abs=1e-6)
    assert scores.places[0].raw == pytest.approx(3)
    assert scores.places[0].box == pytest.approx((15, 15, 25, 25))
    np.testing.assert_array_equal(scores.places[1].embedding, output.place_embedding[0, 1])


def test_of_alternatives_the_best_row_counts() -> None:
    bank = make_bank({"car": 3, "truck": 1})
    assert find(bank, make_output(bank, [(20, 20)], [[-9, 2, -9, 1]])) == [("car", 0.88)]


def test_background_takes_places_from_prompts() -> None:
    bank = make_bank({"car": 1}, background=2)
    output = make_output(bank, [(20, 20), (80, 20)], [[4, -9, -9], [4, 5, -9]])
    assert find(bank, output) == [("car", 0.98)]


def test_a_weak_background_changes_nothing() -> None:
    with_background, without = make_bank({"car": 1}, background=1), make_bank({"car": 1})
    alone = find(without, make_output(without, [(20, 20)], [[2.0]]))
    assert find(with_background, make_output(with_background, [(20, 20)], [[2.0, -30.0]])) == alone


def test_each_prompt_has_its_own_threshold() -> None:
    bank = make_bank({"car": 1, "truck": 1})
    bank.object_thresholds[1] = 0.9
    output = make_output(bank, [(20, 20), (80, 20)], [[1, -9], [-9, 1]])
    assert find(bank, output) == [("car", 0.73)]


def test_a_score_equal_to_the_threshold_counts() -> None:
    bank = make_bank({"car": 1}, threshold=0.5)
    assert find(bank, make_output(bank, [(20, 20)], [[0.0]])) == [("car", 0.5)]


def test_neighbouring_cells_of_two_prompts_are_one_place() -> None:
    bank = make_bank({"car": 1, "truck": 1})
    output = make_output(bank, [(20, 20), (28, 28)], [[1, 0], [0, 2]], side=4)
    assert find(bank, output) == [("truck", 0.88)]


def test_two_peaks_of_one_map_stay_two_places() -> None:
    bank = make_bank({"person": 1})
    output = make_output(bank, [(20, 20), (36, 20)], [[1], [2]])
    assert len(find(bank, output)) == 2


def test_scenes_are_scored_on_their_cosine_and_make_no_place() -> None:
    bank = make_bank({"car": 1}, {"fire": 1, "flood": 2})
    scene = np.array([[0.9, 0.5, 0.1, 0.7]], np.float32)
    output = make_output(bank, [(20, 20)], [[-9, 50, 50, 50]], scene=scene)
    scores = lookup(output, 0, bank, CALIBRATION, WHOLE_TILE)
    assert scores.places == ()
    assert scores.scene_raw == pytest.approx({"fire": 0.5, "flood": 0.7})
    assert scores.scene == pytest.approx({"fire": 0.5, "flood": 1 / (1 + math.exp(-2))})
    assert scores.embedding is not None
    assert scores.embedding.shape == (6,)


def test_a_list_of_scenes_only_has_no_places() -> None:
    bank = make_bank({}, {"fire": 1}, background=1)
    scores = lookup(make_output(bank, [(20, 20)], [[9, 9]]), 0, bank, CALIBRATION, WHOLE_TILE)
    assert scores.places == ()
    assert list(scores.scene) == ["fire"]


def test_padding_is_no_place_and_boxes_come_back_in_frame_pixels() -> None:
    fit = Letterbox.fit(256, 256, 128, 64)  # a quarter of the scale, 32 tile pixels of padding left and right
    bank = make_bank({"car": 1})
    output = make_output(bank, [(31, 30), (96, 30), (64, 32), (34, 60)], [[3], [3], [2], [1]])
    places = lookup(output, 0, bank, CALIBRATION, fit).places
    assert [place.box for place in places] == [(108, 108, 148, 148), (0, 220, 28, 256)]


def test_one_image_of_a_batch_is_looked_up() -> None:
    bank = make_bank({"car": 1})
    one, other = make_output(bank, [(20, 20)], [[1]]), make_output(bank, [(60, 20)], [[2]])
    names = ("scene", "embedding", "place_box", "place_embedding", "place_logit")
    both = EngineOutput(
        **{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names}
    )
    places = lookup(both, 1, bank, CALIBRATION, WHOLE_TILE).places
    assert places == lookup(other, 0, bank, CALIBRATION, WHOLE_TILE).places


def test_an_engine_that_computes_nonsense_is_an_error_and_not_an_empty_frame() -> None:
    bank = make_bank({"car": 1}, {"fire": 1})
    with pytest.raises(EngineError, match="place logits that are not numbers"):
        find(bank, make_output(bank, [(20, 20)], [[math.nan, 0]]))
    with pytest.raises(EngineError, match="scene similarities that are not numbers"):
        find(bank, make_output(bank, [(20, 20)], [[0, 0]], scene=np.full((1, 2), np.nan, np.float32)))


def test_an_output_of_another_bank_is_refused() -> None:
    bank = make_bank({"car": 1})
    with pytest.raises(EngineError, match="has 2 rows but the prompt bank 1"):
        find(bank, make_output(make_bank({"car": 2}), [(20, 20)], [[0, 0]]))


def test_masked_places_are_nobodys() -> None:
    bank = make_bank({"car": 1}, background=1)
    assert find(bank, make_output(bank, [(20, 20)], [[-math.inf, 0]]), WHOLE_TILE) == []


@given(
    arrays(np.float32, (7, 6), elements=st.floats(-80, 80, width=32)),
    st.integers(0, 2),
)
def test_margins_are_what_the_formula_says(logits: np.ndarray, background: int) -> None:
    layout = make_bank({"a": 1, "b": 2}, {"s": 1}, background).layout
    margins = object_margins(logits[:, : 4 + background], layout)
    exact = logits.astype(np.float64)
    rival = np.log(1 + np.exp(exact[:, 4 : 4 + background]).sum(axis=1))
    np.testing.assert_allclose(margins[:, 0], exact[:, 0] - rival, atol=1e-4)
    np.testing.assert_allclose(margins[:, 1], exact[:, 1:3].max(axis=1) - rival, atol=1e-4)


def test_scene_cosines_take_the_best_row_of_each_scene() -> None:
    layout = make_bank({"a": 1}, {"s": 2, "t": 1}, 1).layout
    cosines = np.array([0.9, 0.1, 0.3, 0.2, 0.8], np.float32)
    np.testing.assert_array_equal(scene_cosines(cosines, layout), np.array([0.3, 0.2], np.float32))


def corrected(bank: PromptBank, **of: dict[str, float]) -> PromptBank:
    """The bank with the bias and temperature of some object prompts."""
    prompts = [Prompt(id=name, text=name, **of.get(name, {})) for name in bank.layout.object_ids]
    return replace(bank, object_correction=Correction.of(prompts, CALIBRATION.platt_object))


def test_a_prompt_s_bias_and_temperature_move_the_log_odds_of_its_scores() -> None:
    bank = corrected(make_bank({"car": 1}, threshold=0.01), car={"bias": -1.5, "temperature": 2})
    (place,) = lookup(make_output(bank, [(20, 20)], [[3]]), 0, bank, CALIBRATION, WHOLE_TILE).places
    assert place.score == pytest.approx(1 / (1 + math.exp(-(3 - 1.5) / 2)), abs=1e-6)
    assert place.raw == 3


def test_a_place_goes_to_the_prompt_that_its_bias_makes_the_strongest() -> None:
    bank = make_bank({"car": 1, "truck": 1})
    output = make_output(bank, [(20, 20)], [[2, 1]])
    assert find(bank, output) == [("car", 0.88)]
    assert find(corrected(bank, truck={"bias": 1.5}), output) == [("truck", 0.92)]


def test_a_scene_s_bias_and_temperature_move_its_score_and_not_its_cosine() -> None:
    bank = make_bank({}, {"fire": 1})
    fire = Prompt(id="fire", text="fire", kind="scene", bias=1, temperature=0.5)
    bank = replace(bank, scene_correction=Correction.of([fire], CALIBRATION.platt_scene))
    output = make_output(bank, [(20, 20)], [[0]], scene=np.array([[0.4]], np.float32))
    scores = lookup(output, 0, bank, CALIBRATION, WHOLE_TILE)
    assert scores.scene["fire"] == pytest.approx(0.5, abs=1e-6)
    assert scores.scene_raw["fire"] == pytest.approx(0.4)


@given(
    arrays(np.float32, (5, 3), elements=st.floats(-1000, 1000, width=32) | st.just(-math.inf)),
    st.tuples(st.floats(0.01, 50), st.floats(-50, 50)),
)
def test_without_bias_and_temperature_every_bit_stays(raw: np.ndarray, platt: tuple[float, float]) -> None:
    correction = Correction.of([Prompt(id=name, text=name) for name in "abc"], platt)
    np.testing.assert_array_equal(correction.apply(raw), raw)


@given(st.floats(-20, 20), st.floats(0.05, 20), st.floats(0.1, 10), st.floats(-10, 10))
def test_correction_is_the_log_odds_that_the_list_states(bias: float, temperature: float, a: float, c: float):
    correction = Correction.of([Prompt(id="a", text="a", bias=bias, temperature=temperature)], (a, c))
    raw = np.linspace(-20, 20, 9, dtype=np.float32)[:, None]
    stated = (a * raw.astype(np.float64) + c + bias) / temperature
    np.testing.assert_allclose(a * correction.apply(raw).astype(np.float64) + c, stated, rtol=1e-5, atol=1e-3)


def test_faint_places_fall_short_of_the_threshold_by_little_and_hide_nothing() -> None:
    bank = make_bank({"car": 1, "van": 1}, threshold=0.5)
    bank.object_thresholds[1] = 0.9
    # A car; a van whose odds of 7 reach a quarter of 9 to 1; the same beside the car; one far too weak.
    logits = [[0.1, -9], [-9, math.log(7)], [-9, math.log(7)], [-2, -9]]
    output = make_output(bank, [(20, 20), (90, 20), (24, 20), (60, 50)], logits)
    scores = lookup(output, 0, bank, CALIBRATION, WHOLE_TILE)
    assert [(place.prompt, round(place.score, 3)) for place in scores.places] == [("car", 0.525)]
    assert [(place.prompt, round(place.score, 3)) for place in scores.faint] == [("van", 0.875)]
    assert scores.faint[0].box == (85, 15, 95, 25)
    np.testing.assert_array_equal(scores.faint[0].embedding, output.place_embedding[0, 1])


def test_a_faint_place_has_a_share_of_the_threshold_s_odds() -> None:
    thresholds = np.array([0, 0.3, 0.5, 0.9, 1])
    faint = faint_thresholds(thresholds)
    assert (faint[0], faint[-1]) == (0, 1)
    odds, stated = faint[1:-1] / (1 - faint[1:-1]), thresholds[1:-1] / (1 - thresholds[1:-1])
    np.testing.assert_allclose(odds, FAINT_ODDS * stated)


def test_the_best_score_of_every_prompt_is_told_threshold_or_not() -> None:
    fit = Letterbox.fit(64, 64, 128, 64)
    bank = make_bank({"car": 1, "van": 1, "bus": 1})
    # Two cars, a weak van, and a strong one in the padding; the bus owns nothing.
    logits = [[1, 0, -1], [2, 0, -1], [-5, -4, -9], [-9, 9, -9]]
    output = make_output(bank, [(50, 20), (80, 20), (60, 50), (20, 20)], logits)
    best = lookup(output, 0, bank, CALIBRATION, fit).best
    assert best == pytest.approx({"car": 1 / (1 + math.exp(-2)), "van": 1 / (1 + math.exp(4)), "bus": 0})


def merge_one_by_one(boxes: np.ndarray, radius: float, iou: float) -> list[int]:
    """The same merge, written out in plain Python."""
    kept: list[int] = []
    for candidate, (x1, y1, x2, y2) in enumerate(boxes.astype(float)):
        for other in kept:
            a1, b1, a2, b2 = boxes[other].astype(float)
            near = math.hypot((x1 + x2 - a1 - a2) / 2, (y1 + y2 - b1 - b2) / 2) < radius
            overlap = max(0.0, min(x2, a2) - max(x1, a1)) * max(0.0, min(y2, b2) - max(y1, b1))
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - overlap
            if near or overlap > iou * union:
                break
        else:
            kept.append(candidate)
    return kept


@given(
    st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(0, 40)] * 2), max_size=25), st.integers(0, 20)
)
def test_merge_equals_the_plain_loop(places: list[tuple[int, int, int, int]], radius: int) -> None:
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in places], np.float32).reshape(-1, 4)
    assert merge_places(corners, radius, 0.5).tolist() == merge_one_by_one(corners, radius, 0.5)
