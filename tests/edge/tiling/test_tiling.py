"""Tiling: windows cover the frame, tiles are its pixels, and a thing that several tiles show is one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.bundle.calibration import Calibration
from edge.bundle.load import Bundle
from edge.engines import EngineOutput, create_image_engine
from edge.frames import I420Image, RgbImage
from edge.letterbox import letterbox
from edge.lookup import FrameScores, lookup
from edge.prompts.bank import PromptBank
from edge.prompts.build import build_prompt_bank
from edge.prompts.text_encoder import TextEncoder
from edge.tiling import AUTO_SHRINK, AUTO_WINDOWS, OVERLAP, Tiling, lookup_tiles, merge, tiles_for
from firmware_cfg.prompt_list import load_prompt_bytes

MODEL = (640, 384)
sides = st.integers(1, 5000)


@pytest.fixture(scope="module")
def bank(tiny_bundle: Bundle) -> PromptBank:
    encoder = TextEncoder(tiny_bundle, "onnxruntime")
    loaded = load_prompt_bytes(
        b"prompts: [{id: red, text: red, threshold: 0.5}, {id: blue, text: blue, threshold: 0.5},"
        b" {id: haze, kind: scene, text: grey}]",
        "colours.yaml",
    )
    return build_prompt_bank(loaded, encoder, tiny_bundle.manifest, tiny_bundle.calibration)


@pytest.fixture(scope="module")
def look(tiny_bundle: Bundle, bank: PromptBank) -> Any:
    engine = create_image_engine(tiny_bundle, "onnxruntime", image_size=(64, 64))

    def run(image: RgbImage, wanted: Any) -> FrameScores:
        tiling = tiles_for(image.width, image.height, (64, 64), wanted)
        output = engine.infer(tiling.render(image), bank.rows, bank.bias)
        return lookup_tiles(output, bank, tiny_bundle.calibration, tiling)

    return run


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 114, np.uint8)


@given(sides, sides, st.integers(1, 8), st.integers(1, 8))
@example(3, 3, 8, 8)
def test_windows_cover_the_frame_overlap_and_stay_in_it(width: int, height: int, columns: int, rows: int):
    whole, *windows = tiles_for(width, height, MODEL, (columns, rows)).windows
    assert (whole.x, whole.y, whole.width, whole.height) == (0, 0, width, height)
    assert len(windows) == (columns * rows if columns * rows > 1 else 0)
    for window in windows:
        assert window.x % 2 == window.y % 2 == 0
        assert 0 <= window.x < window.x + window.width <= width
        assert 0 <= window.y < window.y + window.height <= height
    for begin, length, side, parts in (("x", "width", width, columns), ("y", "height", height, rows)):
        spans = sorted({(getattr(w, begin), getattr(w, length)) for w in windows})
        if not spans:
            continue
        assert spans[0][0] == 0
        assert all(first + size >= second for (first, size), (second, _) in pairwise(spans))
        assert sum(spans[-1]) == side
        for (first, size), (second, _) in pairwise(spans):
            # Even begins and whole pixels take at most three from it.
            assert first + size - second >= OVERLAP * size - 3
        if side >= 8 * parts:
            assert len(spans) == parts


@given(sides, sides)
def test_auto_shrinks_no_more_than_it_says_or_takes_the_most_windows(width: int, height: int):
    whole, *windows = tiles_for(width, height, MODEL, "auto").windows
    assert len(windows) <= AUTO_WINDOWS
    if not windows:
        assert whole.fit.scale >= 1 / AUTO_SHRINK - 1e-9
    elif len(windows) <= AUTO_WINDOWS // 2:  # far from the bound
        assert min(window.fit.scale for window in windows) > 0.96 / AUTO_SHRINK


def test_the_tilings_of_usual_cameras_are_these():
    def windows(width: int, height: int) -> int:
        return len(tiles_for(width, height, MODEL, "auto").windows) - 1

    assert [windows(640, 360), windows(960, 540), windows(1280, 720), windows(1920, 1080)] == [0, 0, 4, 9]
    assert windows(3840, 2160) == 12


def test_without_tiling_there_is_the_whole_frame():
    assert tiles_for(4000, 3000, MODEL, "none") == tiles_for(4000, 3000, MODEL, (1, 1))
    assert len(tiles_for(4000, 3000, MODEL, "none").windows) == 1
    with pytest.raises(ValueError, match="0 x 2 windows"):
        tiles_for(4000, 3000, MODEL, (0, 2))


@settings(deadline=None)
@given(st.integers(2, 90), st.integers(2, 90), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_a_tile_is_the_letterboxed_part_of_the_picture(
    width: int, height: int, columns: int, rows: int, planar: bool
):
    chance = np.random.default_rng(width * 100 + height)
    half = ((height + 1) // 2, (width + 1) // 2)
    if planar:
        y, u, v = (chance.integers(0, 256, shape, np.uint8) for shape in ((height, width), half, half))
        image: I420Image | RgbImage = I420Image(y, u, v, "bt601", True)
    else:
        image = RgbImage(chance.integers(0, 256, (height, width, 3), np.uint8))
    tiling = tiles_for(width, height, (64, 32), (columns, rows))
    tiles = tiling.render(image)
    assert tiles.shape == (len(tiling.windows), 32, 64, 3)
    whole = image.rgb()
    for window, tile in zip(tiling.windows, tiles, strict=True):
        part = window.of(image)
        x, y = window.x, window.y
        np.testing.assert_array_equal(part.rgb(), whole[y : y + window.height, x : x + window.width])
        np.testing.assert_array_equal(tile, letterbox(part, 64, 32)[0])
        if isinstance(part, I420Image) and isinstance(image, I420Image):
            assert np.shares_memory(part.y, image.y)
            assert (part.standard, part.full_range) == ("bt601", True)


def test_of_one_tile_the_lookup_is_the_same(tiny_bundle: Bundle, bank: PromptBank):
    chance = np.random.default_rng(0)
    image = RgbImage(chance.integers(0, 256, (120, 200, 3), np.uint8))
    tiling = tiles_for(200, 120, (64, 64), "none")
    engine = create_image_engine(tiny_bundle, "onnxruntime", image_size=(64, 64))
    output = engine.infer(tiling.render(image), bank.rows, bank.bias)
    calibration = tiny_bundle.calibration
    tiled = lookup_tiles(output, bank, calibration, tiling)
    plain = lookup(output, 0, bank, calibration, tiling.whole)
    assert (tiled.places, tiled.faint) == (plain.places, plain.faint)
    assert (tiled.scene, tiled.best) == (plain.scene, plain.best)


def test_small_things_are_found_in_windows_once_each_and_in_their_place(look: Any):
    image = grey(512, 512)
    # In a corner, where two windows overlap (204 to 307), and where all four do.
    corners = [(16, 16), (248, 64), (248, 248), (480, 480)]
    for x, y in corners:
        image[y : y + 12, x : x + 12] = (255, 0, 0)
    assert look(RgbImage(image), "none").places == ()
    places = look(RgbImage(image), (4, 4)).places
    centres = sorted(((p.box[0] + p.box[2]) / 2, (p.box[1] + p.box[3]) / 2) for p in places)
    assert len(places) == len(corners)
    assert all(place.prompt == "red" for place in places)
    for (x, y), (found_x, found_y) in zip(sorted(corners), centres, strict=True):
        assert abs(found_x - x - 6) <= 12
        assert abs(found_y - y - 6) <= 12


def test_scenes_and_the_embedding_are_the_whole_frame_s(look: Any):
    image = RgbImage(np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8))
    plain, tiled = look(image, "none"), look(image, (2, 2))
    # A runtime may compute a batch in another order than a single tile.
    assert tiled.scene == pytest.approx(plain.scene, abs=1e-5)
    np.testing.assert_allclose(tiled.embedding, plain.embedding, atol=1e-5)
    for name, score in tiled.best.items():
        assert score >= plain.best[name] - 1e-5


# Boxes by hand: a frame of 200 x 100, two windows 0..111 and 88..200, tile pixels are frame pixels.


def hand_made(tiling: Tiling, bank: PromptBank, boxes: dict[int, list[tuple[Any, float]]]) -> EngineOutput:
    """An output with frame boxes and red logits for each tile, and places that are none besides."""
    tiles, most = len(tiling.windows), 4
    place_box = np.zeros((tiles, most, 4), np.float32)
    place_logit = np.full((tiles, most, len(bank.rows)), -1e4, np.float32)
    place_embedding = np.arange(tiles * most * 8, dtype=np.float32).reshape(tiles, most, 8)
    for tile, found in boxes.items():
        window = tiling.windows[tile]
        for number, (box, logit) in enumerate(found):
            moved = np.array([box], np.float32) - np.array([window.x, window.y] * 2, np.float32)
            place_box[tile, number] = window.fit.to_tile(moved)[0]
            place_logit[tile, number, 0] = logit
    scene = np.zeros((tiles, len(bank.rows)), np.float32)
    embedding = np.zeros((tiles, 6), np.float32)
    return EngineOutput(scene, embedding, place_box, place_embedding, place_logit + bank.bias)


@pytest.fixture
def kept(tiny_bundle: Bundle, bank: PromptBank) -> Any:
    calibration: Calibration = tiny_bundle.calibration

    def find(boxes: dict[int, list[tuple[Any, float]]]) -> FrameScores:
        tiling = tiles_for(200, 100, (112, 100), (2, 1))
        assert [(w.x, w.x + w.width) for w in tiling.windows] == [(0, 200), (0, 112), (88, 200)]
        return lookup_tiles(hand_made(tiling, bank, boxes), bank, calibration, tiling, stride=2)

    return find


def boxes_of(scores: FrameScores) -> list[tuple[int, ...]]:
    return [tuple(round(side) for side in place.box) for place in scores.places]


def test_the_window_that_holds_a_thing_whole_is_preferred_to_the_one_that_cuts_it(kept: Any):
    whole, cut = (92, 40, 122, 60), (92, 40, 112, 60)
    assert boxes_of(kept({1: [(cut, 5.0)], 2: [(whole, 1.0)]})) == [whole]
    assert boxes_of(kept({1: [(cut, 5.0)]})) == [cut]


def test_parts_of_what_only_the_whole_frame_holds_go(kept: Any):
    lorry = (60, 20, 160, 80)
    parts = {0: [(lorry, 1.0)], 1: [((60, 20, 112, 80), 5.0)], 2: [((88, 20, 160, 80), 5.0)]}
    assert boxes_of(kept(parts)) == [lorry]


def test_a_window_s_own_find_stays_before_the_whole_frame_s(kept: Any):
    fine, coarse = (30, 30, 38, 38), (27, 28, 42, 42)
    scores = kept({0: [(coarse, 5.0)], 1: [(fine, 1.0)]})
    assert boxes_of(scores) == [fine]
    np.testing.assert_array_equal(scores.places[0].embedding, np.arange(32, 40))


def test_a_box_at_the_frame_s_own_border_is_not_cut(kept: Any):
    first, second = (0, 40, 20, 60), (2, 40, 26, 60)
    assert boxes_of(kept({0: [(second, 5.0)], 1: [(first, 1.0)]})) == [first]


def test_different_things_of_two_windows_stay(kept: Any):
    left, right = (90, 10, 98, 18), (102, 10, 110, 18)
    assert boxes_of(kept({1: [(left, 1.0)], 2: [(right, 2.0)]})) == [right, left]


def test_a_faint_place_takes_nothing_from_one_that_counts(kept: Any):
    fine, coarse = (30, 30, 38, 38), (27, 28, 42, 42)
    scores = kept({0: [(coarse, 1.0)], 1: [(fine, -0.5)]})
    assert (boxes_of(scores), scores.faint) == ([coarse], ())
    alone = kept({1: [(fine, -0.5)]})
    assert (alone.places, len(alone.faint)) == ((), 1)


def test_only_the_strongest_are_compared_and_those_that_count_go_first(kept: Any, monkeypatch):
    monkeypatch.setattr(merge, "MOST_CANDIDATES", 3)
    boxes = [(x, 30, x + 8, 38) for x in (10, 30, 50, 120, 140)]
    scores = kept(
        {1: [(boxes[0], 1.0), (boxes[1], 5.0), (boxes[2], -0.5)], 2: [(boxes[3], 0.4), (boxes[4], 3.0)]}
    )
    assert (boxes_of(scores), scores.faint) == ([boxes[1], boxes[4], boxes[0]], ())


def test_an_output_of_another_tiling_is_refused(tiny_bundle: Bundle, bank: PromptBank):
    tiling = tiles_for(200, 100, (112, 100), (2, 1))
    with pytest.raises(ValueError, match="of 3 tiles, not of the tiling's 1"):
        lookup_tiles(
            hand_made(tiling, bank, {}),
            bank,
            tiny_bundle.calibration,
            tiles_for(200, 100, (112, 100), "none"),
        )
