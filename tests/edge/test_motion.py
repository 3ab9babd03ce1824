from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.frames import I420Image, NV12Image, RgbImage
from edge.motion import CameraMotion, MotionEstimator

WIDTH, HEIGHT = 960, 540
SPOTS = np.random.default_rng(3).uniform([0, 0], [WIDTH, HEIGHT], (60, 2))


@pytest.fixture(scope="module")
def ground():
    """Blots of many sizes, blurred a little: texture without a repeating pattern."""
    chance = np.random.default_rng(0)
    pixels = np.full((1600, 2400, 3), 110, np.uint8)
    for x, y, radius, level in chance.uniform([0, 0, 3, 0], [2400, 1600, 40, 255], (1500, 4)):
        cv2.circle(pixels, (int(x), int(y)), int(radius), (level, 255 - level, level), -1)
    return cv2.GaussianBlur(pixels, (0, 0), 1.5)


def look(x, y, turn=0.0, zoom=1.0, tilt=0.0):
    """Ground -> frame, for a camera over the spot (x, y)."""
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    to_spot = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    lens = np.array([[cos, -sin, 0], [sin, cos, 0], [0, tilt / HEIGHT, 1]])
    return np.array([[1, 0, WIDTH / 2], [0, 1, HEIGHT / 2], [0, 0, 1]]) @ lens @ to_spot


def seen(ground, homography):
    return cv2.warpPerspective(ground, homography, (WIDTH, HEIGHT))


def true_motion(before, now):
    return CameraMotion(now @ np.linalg.inv(before))


def astray(motion, truth):
    return float(np.hypot(*(motion.moved(SPOTS) - truth.moved(SPOTS)).T).max())


@pytest.mark.parametrize(
    "change",
    [
        {"x": 1212.0, "y": 793.0},
        {"x": 1240.0, "y": 800.0, "turn": 0.05},
        {"x": 1200.0, "y": 800.0, "zoom": 1.06},
        {"x": 1200.0, "y": 830.0, "turn": -0.03, "tilt": 0.04},
        {"x": 1200.0, "y": 800.0},
    ],
    ids=str,
)
def test_it_finds_how_the_camera_moved(ground, change):
    before, now = look(1200.0, 800.0), look(**change)
    estimator = MotionEstimator()
    assert estimator.update(RgbImage(seen(ground, before))) is None
    motion = estimator.update(RgbImage(seen(ground, now)))
    assert astray(motion, true_motion(before, now)) < 1.0
    assert motion.inliers > 0.8


@pytest.mark.parametrize("layout", ["I420", "NV12"])
def test_yuv_frames_say_the_same_as_rgb(ground, layout):
    estimators = MotionEstimator(), MotionEstimator()
    for place in (look(1200.0, 800.0), look(1215.0, 810.0)):
        pixels = seen(ground, place)
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
        by_rgb = estimators[0].update(RgbImage(pixels))
        nv12 = NV12Image(grey, np.dstack([chroma, chroma]), full_range=True)
        yuv = nv12 if layout == "NV12" else I420Image(grey, chroma, chroma, full_range=True)
        by_yuv = estimators[1].update(yuv)
    assert astray(by_yuv, by_rgb) < 0.5


def test_what_moves_by_itself_does_not_count_as_the_camera(ground):
    estimator = MotionEstimator()
    for step in range(2):
        pixels = seen(ground, look(1200.0, 800.0))
        left = 100 + 25 * step
        pixels[100:400, left : left + 400] = ground[:300, :400]  # a large thing on its way
        motion = estimator.update(RgbImage(pixels), [(left, 100, left + 400, 400)])
    assert astray(motion, CameraMotion(np.eye(3))) < 0.5


def test_places_that_fill_the_frame_are_what_the_camera_is_measured_by(ground):
    before, now = look(1200.0, 800.0), look(1215.0, 800.0)
    estimator = MotionEstimator()
    everywhere = [(0.0, 0.0, float(WIDTH), float(HEIGHT))]
    estimator.update(RgbImage(seen(ground, before)), everywhere)
    motion = estimator.update(RgbImage(seen(ground, now)), everywhere)
    assert astray(motion, true_motion(before, now)) < 1.0


def test_without_texture_or_with_one_thing_on_empty_water_it_does_not_guess(ground):
    empty = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    boats = []
    for step in range(2):
        boat = empty.copy()
        boat[200:280, 300 + 10 * step : 400 + 10 * step] = ground[500:580, 500:600]
        boats.append(boat)
    for frames in ([empty, empty], boats):
        estimator = MotionEstimator()
        assert [estimator.update(RgbImage(frame)) for frame in frames] == [None, None]


def test_a_cut_and_another_frame_size_are_no_motion(ground):
    estimator = MotionEstimator()
    estimator.update(RgbImage(seen(ground, look(600.0, 500.0))))
    assert estimator.update(RgbImage(seen(ground, look(1800.0, 1100.0)))) is None
    half = cv2.resize(seen(ground, look(1800.0, 1100.0)), (WIDTH // 2, HEIGHT // 2))
    assert estimator.update(RgbImage(half)) is None
    assert estimator.update(RgbImage(half)) is not None
    estimator.reset()
    assert estimator.update(RgbImage(half)) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 2)])
def test_tiny_frames_do_no_harm(size):
    estimator = MotionEstimator()
    tiny = RgbImage(np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8))
    assert [estimator.update(tiny, [(-5.0, -5.0, 900.0, 900.0)]) for _ in range(2)] == [None, None]


@given(
    turn=st.floats(-3, 3),
    zoom=st.floats(0.5, 2),
    shift=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    tilt=st.floats(-0.2, 0.2),
)
def test_the_derivative_is_that_of_the_motion(turn, zoom, shift, tilt):
    motion = CameraMotion(look(480 + shift[0], 270 + shift[1], turn, zoom, tilt))
    step = 1e-3
    for axis in range(2):
        aside = np.zeros(2)
        aside[axis] = step
        slope = (motion.moved(SPOTS + aside) - motion.moved(SPOTS - aside)) / (2 * step)
        assert motion.stretched(SPOTS)[:, :, axis] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_corners_are_followed_on_and_chosen_anew_when_many_are_lost(ground):
    estimator, seen_before = MotionEstimator(), look(700.0, 500.0)
    for step in range(40):  # more than a frame's width
        now = look(700.0 + 28 * step, 500.0 + 10 * step, turn=0.01 * step)
        motion = estimator.update(RgbImage(seen(ground, now)))
        if step:
            assert astray(motion, true_motion(seen_before, now)) < 1.5
        seen_before = now


def test_following_and_choosing_apart_is_the_same_as_both_at_once(ground):
    at_once, apart = MotionEstimator(), MotionEstimator()
    box = [(300.0, 200.0, 500.0, 300.0)]
    for step in range(6):
        image = RgbImage(seen(ground, look(1200.0 + 9 * step, 800.0)))
        both = at_once.update(image, box)
        first = apart.follow(image)
        apart.choose(box)
    np.testing.assert_array_equal(both.matrix, first.matrix)


def test_choosing_before_the_first_frame_does_nothing(ground):
    estimator = MotionEstimator()
    estimator.choose([(0.0, 0.0, 9.0, 9.0)])
    assert estimator.update(RgbImage(seen(ground, look(1200.0, 800.0)))) is None


def test_only_what_moves_by_itself_is_strange(ground):
    estimator = MotionEstimator()
    for step in range(2):
        now = look(1200.0 + 12 * step, 800.0 + 7 * step, turn=0.02 * step)
        pixels = seen(ground, now)
        cv2.rectangle(pixels, (400 + 30 * step, 250), (440 + 30 * step, 270), (255, 255, 255), -1)
        motion = estimator.follow(RgbImage(pixels))
        if not step:
            estimator.choose()
    strange = estimator.strangeness(motion)
    assert strange.shape == (180, 320)
    mover = np.zeros_like(strange, bool)
    mover[250 // 3 - 4 : 270 // 3 + 5, 380 // 3 - 4 : 470 // 3 + 5] = True
    assert strange[mover].max() > 60
    assert strange[~mover].max() < 40


def test_before_there_are_two_frames_nothing_is_strange(ground):
    estimator, still = MotionEstimator(), CameraMotion(np.eye(3))
    assert estimator.strangeness(still) is None
    estimator.update(RgbImage(seen(ground, look(1200.0, 800.0))))
    assert estimator.strangeness(still) is None


@pytest.mark.parametrize("size", [(540, 960), (720, 1280), (2160, 3840)])
def test_after_warm_up_nothing_large_is_allocated(ground, size):
    import tracemalloc

    height, width = size
    luma = [
        cv2.cvtColor(
            cv2.resize(seen(ground, look(1200.0 + 9 * n, 800.0)), (width, height)), cv2.COLOR_RGB2GRAY
        )
        for n in range(3)
    ]
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    images = [I420Image(y, chroma, chroma) for y in luma]
    estimator = MotionEstimator()
    for image in images:
        estimator.update(image)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for image in images:
        estimator.update(image)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 256 * 1024
