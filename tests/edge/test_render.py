"""Drawing: where boxes go, what stays untouched, and texts that the font cannot show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.render import MOST_LABELS, PALETTE, annotate, colours, encode_png, thumbnail


def drawn_track(box: tuple[float, float, float, float], *, confirmed: bool = True, number: int = 1) -> Any:
    place = SimpleNamespace(prompt="tree", score=0.7, box=box)
    return SimpleNamespace(place=place, track_id=number, confirmed=confirmed)


def test_a_box_is_drawn_in_its_prompts_colour_and_the_frame_is_left_as_it_was() -> None:
    frame = np.full((200, 300, 3), 50, dtype=np.uint8)
    picture = annotate(frame, [drawn_track((40.0, 60.0, 120.0, 160.0))], colours(["tree"]))
    assert (frame == 50).all()
    assert tuple(picture[160, 80]) == PALETTE[0]
    assert tuple(picture[110, 120]) == PALETTE[0]
    assert tuple(picture[110, 80]) == (50, 50, 50)


def test_a_track_that_is_not_confirmed_is_grey() -> None:
    frame = np.zeros((200, 300, 3), dtype=np.uint8)
    picture = annotate(frame, [drawn_track((40.0, 60.0, 120.0, 160.0), confirmed=False)], colours(["tree"]))
    red, green, blue = picture[160, 80]
    assert red == green == blue > 0


def test_labels_are_left_out_of_a_crowded_frame() -> None:
    frame = np.zeros((400, 400, 3), dtype=np.uint8)
    box = (100.0, 200.0, 150.0, 250.0)
    few = annotate(frame, [drawn_track(box)], colours(["tree"]))
    crowd = annotate(frame, [drawn_track(box)] * (MOST_LABELS + 1), colours(["tree"]))
    assert few[180:197].any()
    assert not crowd[180:197].any()


def test_lines_of_text_get_a_dark_ground() -> None:
    frame = np.full((400, 400, 3), 240, dtype=np.uint8)
    picture = annotate(frame, [], {}, ["tree 3", "zażółć"])
    assert tuple(picture[0, 399]) == (80, 80, 80)
    assert tuple(picture[399, 0]) == (240, 240, 240)


def test_every_prompt_keeps_a_colour_also_past_the_palettes_end() -> None:
    names = [f"p{index}" for index in range(len(PALETTE) + 2)]
    palette = colours(names)
    assert len(set(palette.values())) == len(PALETTE)
    assert palette[names[0]] == palette[names[len(PALETTE)]]


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 200), st.integers(1, 200))
def test_a_thumbnail_has_its_size(rows: int, columns: int, width: int, height: int) -> None:
    small = thumbnail(np.full((rows, columns, 3), 200, dtype=np.uint8), width, height)
    assert small.shape == (height, width, 3)
    assert set(np.unique(small)) <= {0, 200}
    assert (small == 200).any()


def test_png_bytes_hold_the_same_pixels() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode_png(pixels), dtype=np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], pixels)
