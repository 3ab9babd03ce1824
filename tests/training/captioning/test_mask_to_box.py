from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from training.captioning.mask_to_box import boxes_of_mask

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def drawn(*rows: str) -> np.ndarray:
    return np.array([[cell != "." for cell in row] for row in rows])


COURTYARD = drawn(
    "..........",
    ".######...",
    ".#....#...",
    ".#.##.#..#",
    ".#....#..#",
    ".######...",
)


def test_boxes_span_their_areas_with_exclusive_ends() -> None:
    boxes = boxes_of_mask(drawn("#....", "#..##", "...##", "....."))
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[0, 0, 1, 2], [3, 1, 5, 3]]


def test_a_hole_makes_no_box_and_what_lies_in_it_is_found_only_on_demand() -> None:
    assert boxes_of_mask(COURTYARD).tolist() == [[1, 1, 7, 6], [9, 3, 10, 5]]
    assert boxes_of_mask(COURTYARD, holes=True).tolist() == [[1, 1, 7, 6], [3, 3, 5, 4], [9, 3, 10, 5]]


def test_areas_that_touch_by_a_corner_are_one() -> None:
    assert boxes_of_mask(drawn("#..", ".#.", "..#")).tolist() == [[0, 0, 3, 3]]


def test_specks_are_left_out_by_side_and_by_enclosed_area() -> None:
    mask = drawn("####..", "......", "##..#.", "##....")
    assert boxes_of_mask(mask, smallest_side=2).tolist() == [[0, 2, 2, 4]]
    assert boxes_of_mask(mask, smallest_area=2).tolist() == [[0, 0, 4, 1], [0, 2, 2, 4]]
    assert boxes_of_mask(COURTYARD, smallest_area=30).tolist() == [[1, 1, 7, 6]], (
        "its hole counts as enclosed"
    )
    assert len(boxes_of_mask(COURTYARD, smallest_area=31)) == 0


def test_an_empty_mask_has_no_boxes_and_any_number_but_zero_is_the_class() -> None:
    assert boxes_of_mask(np.zeros((3, 4), np.bool_)).shape == (0, 4)
    assert boxes_of_mask(np.zeros((0, 4), np.bool_)).shape == (0, 4)
    assert boxes_of_mask(np.array([[0, 256, -1]], np.int32)).tolist() == [[1, 0, 3, 1]]


def test_a_colour_mask_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two dimensions, got shape \(2, 2, 3\)"):
        boxes_of_mask(np.ones((2, 2, 3), np.uint8))


def reference(mask: np.ndarray, nested: bool) -> list[tuple[int, int, int, int, int]]:
    """Boxes and enclosed pixels by labelling components and flooding the outside: no borders followed."""
    padded = np.pad(mask, 1)
    areas, _ = ndimage.label(padded, np.ones((3, 3)))
    background, _ = ndimage.label(~padded)
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(areas), start=1):
        area = areas == number
        if nested or (ndimage.binary_dilation(area) & (background == background[0, 0])).any():
            enclosed = int(ndimage.binary_fill_holes(area).sum())
            found.append((columns.start - 1, rows.start - 1, columns.stop - 1, rows.stop - 1, enclosed))
    return sorted(found, key=lambda box: (box[1], box[0], box[3], box[2]))


@given(mask=MASKS, nested=st.booleans(), smallest=st.integers(1, 9))
def test_borders_and_components_agree(mask: np.ndarray, nested: bool, smallest: int) -> None:
    expected = [box[:4] for box in reference(mask, nested) if box[4] >= smallest]
    found = boxes_of_mask(mask, holes=nested, smallest_area=smallest)
    assert [tuple(box) for box in found.tolist()] == expected
