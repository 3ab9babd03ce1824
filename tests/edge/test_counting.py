from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.counting import Counter, inside_polygon
from edge.geo.earth import LocalPlane
from edge.geo.ground import GroundPoints
from edge.lookup import FrameScores, Place
from edge.motion import CameraMotion
from edge.tracking import TrackedPlace, Tracker
from firmware_cfg.prompt_list import PromptList
from firmware_cfg.rules import Term

WIDTH, HEIGHT = 1000, 500
NOTHING = FrameScores({}, ())


def numbers_list(**parts):
    prompts = [
        {"id": "car", "text": "a car"},
        {"id": "boat", "text": "a boat"},
        {"id": "smoke", "kind": "scene", "text": "smoke over a forest"},
    ]
    return PromptList.model_validate({"version": 1, "prompts": prompts, **parts})


def tracked_at(x, y, track_id=1, prompt="car", score=0.5, confirmed=True, size=20.0, raw=1.5):
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return TrackedPlace(Place(prompt, score, raw, box), track_id, 1.0, confirmed)


def feed(counter, *frames, step_s=0.1):
    counts = None
    for number, tracked in enumerate(frames):
        counts = counter.update(tracked, NOTHING, WIDTH, HEIGHT, number * step_s)
    return counts


def test_places_are_counted_by_prompt_with_the_best_score():
    counts = feed(
        Counter(numbers_list()),
        [
            tracked_at(10, 10, 1, score=0.4),
            tracked_at(50, 10, 2, score=0.7, raw=3.0),
            tracked_at(90, 9, 3, "boat"),
        ],
    )
    car, boat, smoke = (counts.prompts[prompt] for prompt in ("car", "boat", "smoke"))
    assert (car.count, car.score, car.raw) == (2, 0.7, 3.0)
    assert boat.count == 1
    assert (smoke.count, smoke.score, smoke.raw) == (0, 0.0, 0.0)
    assert dict(car.place_scores) == {1: 0.4, 2: 0.7}


def test_scene_scores_are_passed_on():
    scores = FrameScores({"smoke": 0.6}, (), scene_raw={"smoke": 0.21})
    counts = Counter(numbers_list()).update([], scores, WIDTH, HEIGHT, 0.0)
    assert (counts.prompts["smoke"].score, counts.prompts["smoke"].raw) == (0.6, 0.21)
    assert counts.value("smoke", Term("score")) == 0.6


def test_unique_counts_confirmed_tracks_each_once():
    counter = Counter(numbers_list())
    one_doubtful = [tracked_at(10, 10, 1), tracked_at(90, 10, 2, confirmed=False)]
    assert feed(counter, one_doubtful, one_doubtful).prompts["car"].unique == 1
    counts = counter.update([tracked_at(90, 10, 2)], NOTHING, WIDTH, HEIGHT, 0.2)
    assert counts.prompts["car"].unique == 2
    assert counter.update([], NOTHING, WIDTH, HEIGHT, 500.0).prompts["car"].unique == 2


def test_unique_survives_another_recording_and_ends_with_reset():
    counter = Counter(numbers_list())
    feed(counter, [tracked_at(10, 10, 1)], [tracked_at(10, 10, 1)])
    assert feed(counter, [tracked_at(10, 10, 2)]).prompts["car"].unique == 2
    counter.reset()
    assert feed(counter, [tracked_at(10, 10, 3)]).prompts["car"].unique == 1


ZONES = {
    "left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]],
    "middle": [[0.4, 0], [0.6, 0], [0.6, 1], [0.4, 1]],
    "hook": [[0.7, 0.1], [0.9, 0.1], [0.9, 0.9], [0.8, 0.9], [0.8, 0.4], [0.7, 0.4]],
}


def test_zones_hold_what_has_its_centre_in_them():
    counts = feed(
        Counter(numbers_list(zones=ZONES)),
        [
            tracked_at(100, 250, 1, score=0.3),
            tracked_at(450, 250, 2, score=0.6),
            tracked_at(550, 250, 3, score=0.9),
            tracked_at(750, 150, 4),
            tracked_at(750, 400, 5),
            tracked_at(450, 250, 6, "boat"),
        ],
    )
    assert dict(counts.prompts["car"].zones) == {"left": 2, "middle": 2, "hook": 1}
    assert dict(counts.prompts["boat"].zones) == {"left": 1, "middle": 1, "hook": 0}
    assert counts.value("car", Term("count_in", "middle")) == 2
    assert counts.track_zones[2] == {"left", "middle"}
    assert counts.track_zones[5] == frozenset()


def test_an_alerts_zones_count_their_union_and_restrict_the_score():
    counts = feed(
        Counter(numbers_list(zones=ZONES)),
        [
            tracked_at(100, 250, 1, score=0.3),
            tracked_at(450, 250, 2, score=0.6),
            tracked_at(950, 20, 3, score=0.9),
        ],
    )
    assert counts.value("car", Term("count")) == 3
    assert counts.value("car", Term("count"), ("left", "middle")) == 2
    assert counts.value("car", Term("score"), ("left",)) == 0.6
    assert counts.value("car", Term("score"), ("hook",)) == 0
    assert counts.value("car", Term("unique"), ("hook",)) == 3


def test_what_the_list_does_not_have_is_a_key_error():
    counts = feed(Counter(numbers_list(zones=ZONES)), [])
    for prompt, term in [
        ("van", Term("count")),
        ("car", Term("count_in", "right")),
        ("car", Term("crossing", "road")),
    ]:
        with pytest.raises(KeyError):
            counts.value(prompt, term)


ROAD = {"road": [[0.2, 0.5], [0.8, 0.5]]}  # to the right, so its left is the upper part of the frame


def crossings(*tracks, lines=ROAD, confirmed_from=0):
    """(in, out) after one thing went through these points."""
    counter = Counter(numbers_list(lines=lines))
    frames = [[tracked_at(x, y, confirmed=n >= confirmed_from)] for n, (x, y) in enumerate(tracks)]
    counts = feed(counter, *frames)
    ways = [counts.value("car", Term("crossing", "road", way)) for way in ("in", "out")]
    assert counts.value("car", Term("crossing", "road")) == sum(ways)
    return tuple(ways)


def test_crossing_from_left_to_right_of_the_line_is_in():
    assert crossings((500, 200), (500, 300)) == (1, 0)
    assert crossings((500, 300), (500, 200)) == (0, 1)
    assert crossings((500, 200), (500, 300), lines={"road": ROAD["road"][::-1]}) == (0, 1)
    assert crossings((500, 200), (500, 300), (500, 200), (500, 300)) == (2, 1)


def test_going_round_the_end_of_the_line_is_no_crossing():
    assert crossings((100, 200), (100, 300)) == (0, 0)
    assert crossings((500, 200), (900, 200), (900, 300), (500, 300)) == (0, 0)


def test_jitter_on_the_line_counts_once_at_most():
    jitter = [(500, 250 + d) for d in (-2, 2, -3, 3, -1, 2, -2, 3) * 5]
    assert crossings((500, 200), *jitter, (500, 200)) == (0, 0)
    assert crossings((500, 200), *jitter, (500, 300)) == (1, 0)


def test_a_thing_that_appears_on_the_line_has_not_crossed_it():
    assert crossings((500, 250), (500, 300)) == (0, 0)


def test_a_crossing_before_confirmation_counts_once_confirmed():
    assert crossings((500, 200), (500, 300), (500, 320), confirmed_from=2) == (1, 0)
    assert crossings((500, 200), (500, 300), confirmed_from=9) == (0, 0)


def test_a_fast_thing_crosses_though_never_seen_near_the_line():
    assert crossings((300, 10), (700, 490)) == (1, 0)


def test_crossings_are_kept_by_prompt_and_track():
    counter = Counter(numbers_list(lines=ROAD))
    counts = feed(
        counter,
        [tracked_at(300, 200, 1), tracked_at(400, 200, 2), tracked_at(500, 300, 3, "boat")],
        [tracked_at(300, 300, 1), tracked_at(500, 200, 3, "boat"), tracked_at(410, 300, 4)],
    )
    assert dict(counts.prompts["car"].crossings) == {("road", "in"): 1, ("road", "out"): 0}
    assert dict(counts.prompts["boat"].crossings) == {("road", "in"): 0, ("road", "out"): 1}


def test_a_track_unseen_for_long_is_forgotten():
    counter = Counter(numbers_list(lines=ROAD))
    counter.update([tracked_at(500, 200)], NOTHING, WIDTH, HEIGHT, 0.0)
    for number in range(3):
        counter.update([], NOTHING, WIDTH, HEIGHT, 60.0 + number)
    assert len(counter._tracks) == 1
    counter.update([], NOTHING, WIDTH, HEIGHT, 63.0)
    assert not counter._tracks


@pytest.mark.parametrize(
    ("step_s", "seen"),
    [(12.0, "xxxx...xxxx"), (20.0, "xxxx.xxxx.xxx"), (40.0, "xxxxxxxxx"), (30.0, "xxx...x")],
)
def test_a_thing_that_the_tracker_knows_again_is_not_counted_again_however_slow_the_frames(step_s, seen):
    tracker, counter = Tracker(), Counter(numbers_list())
    car = Place("car", 0.9, 1.0, (100.0, 100.0, 140.0, 140.0))
    ids, unique = set(), 0
    for number, sign in enumerate(seen):
        tracks = tracker.update((car,) if sign == "x" else (), number * step_s, frame_size=(WIDTH, HEIGHT))
        ids |= {track.track_id for track in tracks}
        unique = counter.update(tracks, NOTHING, WIDTH, HEIGHT, number * step_s).prompts["car"].unique
    assert (ids, unique) == ({1}, 1)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=3, unique=True),
    st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=1, max_size=20),
)
def test_inside_a_triangle_agrees_with_the_signs_of_its_edges(triangle, points):
    corners, spots = np.array(triangle), np.array(points)
    edges = np.roll(corners, -1, axis=0) - corners
    offsets = spots[:, None] - corners[None]
    turns = edges[None, :, 0] * offsets[..., 1] - edges[None, :, 1] * offsets[..., 0]
    assume(abs(turns).min() > 1e-9)
    inside = (turns > 0).all(axis=1) | (turns < 0).all(axis=1)
    assert inside_polygon(spots, corners).tolist() == inside.tolist()


CLEAR_OF_THE_LINE = st.tuples(st.integers(0, 999), st.one_of(st.integers(0, 240), st.integers(260, 499)))


@given(st.lists(CLEAR_OF_THE_LINE, min_size=1, max_size=30))
def test_every_change_of_side_of_a_line_across_the_frame_is_one_crossing(path):
    below = [y > 250 for _, y in path]
    changes = list(pairwise(below))
    expected = (changes.count((False, True)), changes.count((True, False)))
    assert crossings(*path, lines={"road": [[0.0, 0.5], [1.0, 0.5]]}) == expected


HOME = (47.4, 8.5)
PLANE = LocalPlane(*HOME)


def on_ground(*east_north, h_acc_m=1.0):
    """Places by metres east and north of HOME; None where the position is not known."""
    known = [(np.nan, np.nan) if place is None else place for place in east_north]
    latitude, longitude = PLANE.to_degrees(np.array(known, np.float64)[:, ::-1])
    return GroundPoints(latitude, longitude, np.full(len(known), h_acc_m))


def degrees(*east_north):
    where = on_ground(*east_north)
    return [list(place) for place in zip(where.latitude.tolist(), where.longitude.tolist(), strict=True)]


def test_a_zone_on_the_ground_holds_what_stands_in_it_wherever_it_is_in_the_frame():
    yard = {"ground": degrees((0, 0), (40, 0), (40, 30), (0, 30))}
    counter = Counter(numbers_list(zones={"yard": yard, **ZONES}))
    tracked = [tracked_at(900, 400, 1), tracked_at(10, 10, 2), tracked_at(500, 250, 3, "boat")]
    counts = counter.update(
        tracked, NOTHING, WIDTH, HEIGHT, 0.0, ground=on_ground((20, 15), (41, 15), (39, 29))
    )
    assert counts.track_zones == {1: {"yard"}, 2: {"left"}, 3: {"yard", "middle"}}
    assert counts.value("car", Term("count_in", "yard")) == 1
    assert counts.unplaced == 0


@pytest.mark.parametrize("start", [(0.0, 0.0), (60.0, -179.9999), (-45.0, 179.9999)])
def test_a_line_on_the_ground_counts_from_its_left_to_its_right_at_every_place_on_earth(start):
    plane = LocalPlane(*start)

    def places(*east_north):
        return plane.to_degrees(np.array(east_north, np.float64)[:, ::-1])

    northward = {"ground": np.stack(places((0, 0), (0, 100)), axis=1).tolist()}
    counter = Counter(numbers_list(lines={"road": northward}))
    for second, (eastward, westward, past_its_end) in enumerate(zip((-5, 5), (5, -5), (-5, 5), strict=True)):
        latitude, longitude = places((eastward, 50), (westward, 60), (past_its_end, 110))
        tracked = [tracked_at(300, 300, 1), tracked_at(300, 300, 2, "boat"), tracked_at(300, 300, 3)]
        counts = counter.update(
            tracked,
            NOTHING,
            WIDTH,
            HEIGHT,
            float(second),
            ground=GroundPoints(latitude, longitude, np.ones(3)),
        )
    assert dict(counts.prompts["car"].crossings) == {("road", "in"): 1, ("road", "out"): 0}
    assert dict(counts.prompts["boat"].crossings) == {("road", "in"): 0, ("road", "out"): 1}


def test_a_position_that_wavers_within_its_accuracy_crosses_nothing():
    counter = Counter(numbers_list(lines={"road": {"ground": degrees((0, 0), (0, 100))}}))
    for second in range(20):
        aside = 2.0 if second % 2 else -2.0
        counts = counter.update(
            [tracked_at(300, 300)],
            NOTHING,
            WIDTH,
            HEIGHT,
            float(second),
            ground=on_ground((aside, 50), h_acc_m=10.0),
        )
    assert counts.value("car", Term("crossing", "road")) == 0


def test_what_has_no_position_is_told_as_unplaced_and_logged_once(caplog):
    everywhere = degrees((-1000, -1000), (1000, -1000), (1000, 1000), (-1000, 1000))
    road = degrees((0, 0), (0, 100))
    counter = Counter(numbers_list(zones={"all": {"ground": everywhere}}, lines={"road": {"ground": road}}))
    tracked = [tracked_at(300, 300, 1), tracked_at(400, 300, 2)]
    half = counter.update(tracked, NOTHING, WIDTH, HEIGHT, 0.0, ground=on_ground((5, 5), None))
    none = counter.update(tracked, NOTHING, WIDTH, HEIGHT, 1.0)
    assert (half.unplaced, none.unplaced) == (1, 2)
    assert half.value("car", Term("count_in", "all")) == 1
    assert none.value("car", Term("count_in", "all")) == 0
    assert none.value("car", Term("count")) == 2
    assert len(caplog.records) == 1
    assert "1 of 2" in caplog.text
    assert Counter(numbers_list(zones=ZONES)).update(tracked, NOTHING, WIDTH, HEIGHT, 0.0).unplaced == 0


def test_a_zone_or_line_far_from_every_position_is_warned_of_once(caplog):
    here = np.array([[56.2050, 10.1850], [56.2050, 10.1860], [56.2060, 10.1860]])
    zones = {"lot": {"ground": here[:, ::-1].tolist()}, "yard": {"ground": here.tolist()}}
    lines = {"gate": {"ground": here[:2, ::-1].tolist()}, "road": {"ground": here[:2].tolist()}}
    counter = Counter(numbers_list(zones=zones, lines=lines))
    unknown = GroundPoints(*np.full((3, 1), np.nan))
    known = GroundPoints(np.array([np.nan, 56.206]), np.array([np.nan, 10.188]), np.array([np.nan, 4.0]))
    counter.update([tracked_at(10, 10)], NOTHING, WIDTH, HEIGHT, 0.0, ground=unknown)
    caplog.clear()
    for number in range(3):
        pair = [tracked_at(10, 10), tracked_at(90, 10, 2)]
        counter.update(pair, NOTHING, WIDTH, HEIGHT, 0.1 + number, ground=known)
    told = [record.getMessage() for record in caplog.records]
    words = r"(zone lot|line gate) lies (\d),(\d{3}) km from the drone \(is it \[latitude, longitude\]\?\)"
    found = [re.fullmatch(words, line).groups() for line in told]
    assert [name for name, *_ in found] == ["zone lot", "line gate"]
    # The haversine formula on the mean sphere gives 6470.3 km.
    assert [1000 * int(high) + int(low) for _, high, low in found] == pytest.approx([6470.3] * 2, rel=2e-3)


UPRIGHT = {"road": [[0.5, 0.0], [0.5, 1.0]]}


def shift_by(x, y=0.0):
    matrix = np.eye(3)
    matrix[:2, 2] = x, y
    return CameraMotion(matrix)


def test_a_survey_counts_what_stands_on_the_ground_as_it_passes_the_line():
    counter = Counter(numbers_list(lines=UPRIGHT))
    for number, x in enumerate(range(900, 100, -50)):
        tracked = [tracked_at(x + 10 * k, 50 * k, k) for k in range(1, 6)]
        counts = counter.update(tracked, NOTHING, WIDTH, HEIGHT, number / 10, motion=shift_by(-50))
    assert dict(counts.prompts["car"].crossings) == {("road", "in"): 5, ("road", "out"): 0}


def test_a_hovering_camera_does_not_count_a_parked_car_with_every_gust_but_a_driving_one_each_time():
    counter = Counter(numbers_list(lines=UPRIGHT))
    before = 0.0
    for number in range(60):
        swing = 80 * np.sin(number / 4)
        driving = 500 + 300 * np.sin(number / 5)  # over the middle at 16, 31 and 47
        tracked = [tracked_at(500 + swing, 100, 1), tracked_at(driving + swing, 300, 2, "boat")]
        counts = counter.update(tracked, NOTHING, WIDTH, HEIGHT, number / 10, motion=shift_by(swing - before))
        before = swing
    passed = {prompt: sum(counts.prompts[prompt].crossings.values()) for prompt in ("car", "boat")}
    assert passed == {"car": 1, "boat": 3}


def test_without_the_cameras_motion_all_that_passes_the_line_counts():
    counter = Counter(numbers_list(lines=UPRIGHT))
    counts = feed(counter, *([tracked_at(500 + side, 100)] for side in (-80, 80, -80, 80)))
    assert dict(counts.prompts["car"].crossings) == {("road", "in"): 1, ("road", "out"): 2}
