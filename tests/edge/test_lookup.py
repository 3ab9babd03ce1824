"""The lookup: who owns a place, what competes, what is merged, what lies outside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.bundle.calibration import Calibration
from edge.engines import EngineOutput
from edge.letterbox import Letterbox
from edge.lookup import lookup, merge_places, object_margins, scene_cosines
from edge.prompts.bank import BACKGROUND_BIAS, PromptBank, RowLayout
from firmware_cfg.errors import EngineError
from firmware_cfg.prompt_list import PromptList

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
