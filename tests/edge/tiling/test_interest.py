"""Region of interest: what moved, is followed or was found is looked at; the rest in turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.motion import CameraMotion
from edge.tiling import Interest, only, tiles_for
from edge.tiling.interest import LATELY

WIDTH, HEIGHT = 1920, 1080
TILING = tiles_for(WIDTH, HEIGHT, (640, 384), (3, 3))
STILL = CameraMotion(np.eye(3))
CALM = np.zeros((180, 320), np.uint8)


def shift(x: float, y: float = 0.0) -> CameraMotion:
    return CameraMotion(np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]))


def whole_in(which: tuple[int, ...], box: tuple[float, ...]) -> bool:
    windows = [TILING.windows[n] for n in which if n]
    return any(
        w.x <= box[0] and w.y <= box[1] and box[2] <= w.x + w.width and box[3] <= w.y + w.height
        for w in windows
    )


def begun() -> Interest:
    """After its first frame, in which there was nothing."""
    interest = Interest(TILING)
    assert interest.choose(None, None) == tuple(range(10))
    interest.found([])
    return interest


def test_where_nothing_happens_one_window_is_looked_at_and_each_comes_round():
    interest, seen = begun(), []
    for _ in range(9):
        whole, resting = interest.choose(STILL, CALM)
        interest.found([])
        assert whole == 0
        seen.append(resting)
    assert sorted(seen) == list(range(1, 10))


spots = st.tuples(st.floats(0, WIDTH - 1), st.floats(0, HEIGHT - 1))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.lists(spots, max_size=6), st.booleans()), min_size=20, max_size=40))
def test_no_window_rests_longer_than_there_are_windows_whatever_happens(history):
    interest, waited = Interest(TILING), np.zeros(10, int)
    for things, known in history:
        which = interest.choose(STILL if known else None, CALM if known else None)
        interest.found([(x, y, x + 30, y + 30) for x, y in things])
        assert which[0] == 0
        assert list(which) == sorted(set(which))
        waited += 1
        waited[list(which)] = 0
        assert waited.max() <= 9


@given(st.lists(spots, min_size=1, max_size=20))
def test_what_was_found_is_seen_whole_in_the_next_frame(things):
    interest = begun()
    boxes = [(x, y, min(x + 60, WIDTH), min(y + 40, HEIGHT)) for x, y in things]
    interest.choose(STILL, CALM)
    interest.found(boxes)
    which = interest.choose(STILL, CALM)
    assert all(whole_in(which, box) for box in boxes)


def test_what_was_found_is_looked_for_a_few_frames_more_where_the_camera_took_it():
    interest = begun()
    interest.choose(STILL, CALM)
    interest.found([(100.0, 100.0, 140.0, 140.0)])
    for step in range(1, LATELY + 1):
        which = interest.choose(shift(250.0), CALM)
        interest.found([])
        assert whole_in(which, (100.0 + 250 * step, 100.0, 140.0 + 250 * step, 140.0))
    assert len(interest.choose(shift(250.0), CALM)) == 2  # forgotten: only the resting one


def test_finds_that_are_told_late_are_looked_for_where_they_are_by_then():
    interest = begun()
    interest.choose(STILL, CALM)
    interest.choose(shift(600.0), CALM)
    interest.found([(100.0, 100.0, 140.0, 140.0)])  # in the frame before the last
    assert whole_in(interest.choose(shift(600.0), CALM), (1300.0, 100.0, 1340.0, 140.0))


def test_finds_of_before_an_unknown_motion_are_passed_over():
    interest = begun()
    interest.choose(STILL, CALM)
    assert len(interest.choose(None, None)) == 10
    interest.found([(100.0, 100.0, 140.0, 140.0)])  # of the frame before that
    interest.found([(1700.0, 900.0, 1740.0, 940.0)])
    which = interest.choose(STILL, CALM)
    assert whole_in(which, (1700.0, 900.0, 1740.0, 940.0))
    assert len(which) <= 3


def test_what_moved_by_itself_is_looked_at_and_noise_is_not():
    interest, strange = begun(), CALM.copy()
    strange[100:104, 200:206] = 80
    strange[20, 20] = 80  # one pixel
    strange[150:170, 10:60] = 10  # and a faint shimmer
    which = interest.choose(STILL, strange)
    assert whole_in(which, (1200.0, 600.0, 1236.0, 624.0))
    assert len(which) <= 3


def test_what_no_window_holds_is_looked_at_by_all_that_show_some_of_it():
    interest = begun()
    interest.choose(STILL, CALM)
    interest.found([(0.0, 0.0, float(WIDTH), 300.0)])
    assert {1, 2, 3} <= set(interest.choose(STILL, CALM))


def test_without_windows_there_is_only_the_whole_frame():
    interest = Interest(tiles_for(640, 360, (640, 384), "none"))
    assert interest.choose(None, None) == (0,)
    interest.found([(0.0, 0.0, 10.0, 10.0)])
    assert interest.choose(STILL, CALM) == (0,)


def test_the_tiling_of_some_windows_has_the_whole_frame_first():
    some = only(TILING, (0, 4, 7))
    assert some.windows == (TILING.windows[0], TILING.windows[4], TILING.windows[7])
    assert some.whole == TILING.whole
    assert only(TILING, tuple(range(10))) is TILING
    for wrong in ((), (3, 4)):
        with pytest.raises(ValueError, match="whole frame"):
            only(TILING, wrong)
