from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.lookup import Place
from edge.motion import CameraMotion
from edge.tracking import Tracker, TrackerSettings

WIDTH, HEIGHT = 640, 384


def place_at(x, y, size=24.0, prompt="car", score=0.8):
    return Place(prompt, score, 1.0, (x - size / 2, y - size / 2, x + size / 2, y + size / 2))


def ids(tracked):
    return [t.track_id for t in tracked]


@dataclass
class Flight:
    """A camera flying to the right over things that stand on the ground, found with some luck."""

    speed: float = 12.0  # pixels a frame
    found: float = 0.85  # chance that a thing in view is found
    per_view: int = 40
    false_places: float = 0.0  # a frame
    shake: float = 0.0  # pixels
    frames: int = 120
    fps: float = 10.0
    seed: int = 7

    def run(self):
        """(things that were well in view, ids of confirmed tracks, {thing: its confirmed ids})."""
        chance = np.random.default_rng(self.seed)
        length = self.speed * self.frames + WIDTH
        ground, sizes = np.empty((0, 2)), np.empty(0)
        while len(ground) < self.per_view * length / WIDTH:
            centre, size = chance.uniform([0, 0], [length, HEIGHT]), chance.uniform(18, 50)
            if (np.hypot(*(ground - centre).T) > 0.45 * (size + sizes)).all():
                ground, sizes = np.vstack([ground, centre]), np.append(sizes, size)
        tracker, viewed, confirmed, of_thing = Tracker(), set(), set(), {}
        for number in range(self.frames):
            corner = np.array([self.speed * number, 0.0]) + chance.normal(0, self.shake, 2)
            places, things = [], []
            for thing, (centre, size) in enumerate(zip(ground, sizes, strict=True)):
                middle = centre - corner + chance.normal(0, 1.5, 2)
                sides = size * (1 + chance.normal(0, 0.06, 2))
                low = np.maximum(middle - sides / 2, 0)
                high = np.minimum(middle + sides / 2, [WIDTH, HEIGHT])
                share = np.maximum(high - low, 0).prod() / size**2
                if share > 0.6:
                    viewed.add(thing)
                if share > 0.35 and chance.random() < self.found:
                    places.append(Place("tree", 0.5, 1.0, (low[0], low[1], high[0], high[1])))
                    things.append(thing)
            for _ in range(chance.poisson(self.false_places)):
                places.append(place_at(*chance.uniform([0, 0], [WIDTH, HEIGHT]), 30.0, "tree"))
                things.append(None)
            for item, thing in zip(tracker.update(places, number / self.fps), things, strict=True):
                if item.confirmed:
                    confirmed.add(item.track_id)
                    of_thing.setdefault(thing, set()).add(item.track_id)
        return viewed, confirmed, of_thing


@pytest.mark.parametrize(
    "flight",
    [
        Flight(speed=0.5),
        Flight(speed=12.0),
        Flight(speed=40.0),
        Flight(speed=12.0, found=0.6),
        Flight(speed=40.0, found=0.7),
        Flight(speed=12.0, shake=8.0),
        Flight(speed=12.0, shake=15.0, found=0.75),
        Flight(speed=25.0, per_view=90, frames=60),
        Flight(speed=30.0, fps=2.0),
    ],
    ids=str,
)
def test_what_enters_at_one_edge_and_leaves_at_the_other_is_one_thing(flight):
    viewed, confirmed, of_thing = flight.run()
    assert len(confirmed) == pytest.approx(len(viewed), rel=0.06)
    assert sum(len(tracks) for tracks in of_thing.values()) <= 1.08 * len(of_thing)
    assert all(len(tracks) <= 3 for tracks in of_thing.values())


def test_false_places_that_come_and_go_are_hardly_ever_confirmed():
    flight = Flight(speed=12.0, false_places=2.0)
    _, _, of_thing = flight.run()
    assert len(of_thing.pop(None, ())) <= 0.15 * flight.false_places * flight.frames
    assert sum(len(tracks) for tracks in of_thing.values()) <= 1.08 * len(of_thing)


def test_a_track_needs_three_sightings_to_be_confirmed_and_stays_so():
    tracker = Tracker()
    seen = [tracker.update([place_at(50 + 3 * n, 60)], n / 10)[0] for n in range(6)]
    assert [t.confirmed for t in seen] == [False, False, True, True, True, True]
    assert {t.track_id for t in seen} == {seen[0].track_id}
    assert [t.age for t in seen] == pytest.approx([n / 10 for n in range(6)])


@pytest.mark.parametrize("gap", [1, 3, 8, 15])
def test_a_confirmed_thing_keeps_its_id_through_a_gap_while_moving(gap):
    tracker = Tracker()
    for n in range(8):
        (before,) = tracker.update([place_at(50 + 9 * n, 60)], n / 10)
    for n in range(8, 8 + gap):
        assert tracker.update([], n / 10) == ()
    n = 8 + gap
    (after,) = tracker.update([place_at(50 + 9 * n, 60)], n / 10)
    assert after.track_id == before.track_id
    assert after.confirmed


def test_a_thing_that_flickers_every_other_frame_is_one():
    tracker = Tracker()
    seen = set()
    for n in range(40):
        tracked = tracker.update([place_at(50 + 4 * n, 60)] if n % 2 == 0 else [], n / 10)
        seen |= {t.track_id for t in tracked}
    assert len(seen) == 1


def test_after_too_long_a_gap_it_is_another_thing():
    tracker = Tracker()
    for n in range(5):
        (before,) = tracker.update([place_at(50, 60)], n / 10)
    for n in range(5, 40):
        tracker.update([], n / 10)
    (after,) = tracker.update([place_at(50, 60)], 4.0)
    assert after.track_id != before.track_id
    assert not after.confirmed


def test_at_one_frame_in_five_seconds_the_gap_is_counted_in_frames():
    tracker = Tracker()
    first = [ids(tracker.update([place_at(50, 60)], 5.0 * n)) for n in range(4)]
    tracker.update([], 20.0)
    assert ids(tracker.update([place_at(50, 60)], 25.0)) == first[0]
    assert len({tuple(f) for f in first}) == 1


def test_two_things_that_pass_each_other_keep_their_ids():
    tracker = Tracker()
    history = []
    for n in range(30):
        history.append(ids(tracker.update([place_at(50 + 10 * n, 100), place_at(350 - 10 * n, 112)], n / 10)))
    assert {tuple(pair) for pair in history} == {tuple(history[0])}


def test_prompts_are_tracked_on_their_own():
    tracker = Tracker()
    car, person = tracker.update([place_at(50, 60, prompt="car"), place_at(52, 60, prompt="person")], 0.0)
    assert car.track_id != person.track_id
    again = tracker.update([place_at(50, 60, prompt="person"), place_at(52, 60, prompt="car")], 0.1)
    assert ids(again) == [person.track_id, car.track_id]


def test_a_much_larger_thing_in_the_same_spot_is_another_one():
    tracker = Tracker()
    (small,) = tracker.update([place_at(100, 100, 10)], 0.0)
    (large,) = tracker.update([place_at(100, 100, 90)], 0.1)
    assert small.track_id != large.track_id


def test_reset_forgets_tracks_but_never_reuses_an_id():
    tracker = Tracker()
    for n in range(4):
        before = tracker.update([place_at(50, 60)], n / 10)
    tracker.reset()
    (after,) = tracker.update([place_at(50, 60)], 0.4)
    assert after.track_id > before[0].track_id
    assert not after.confirmed
    assert after.age == 0


def test_time_that_runs_backwards_is_another_recording():
    tracker = Tracker()
    for n in range(4):
        before = tracker.update([place_at(50, 60)], 10 + n / 10)
    assert ids(tracker.update([place_at(50, 60)], 0.0)) != ids(before)


def test_unrelated_images_can_confirm_at_once():
    tracker = Tracker(TrackerSettings(confirm_hits=1))
    assert [t.confirmed for t in tracker.update([place_at(50, 60), place_at(90, 60)], 0.0)] == [True, True]


def test_hundreds_of_new_places_every_frame_keep_a_bounded_memory():
    tracker = Tracker()
    chance = np.random.default_rng(0)
    for n in range(20):
        spots = chance.uniform([0, 0], [4000, 3000], (300, 2))
        tracker.update([place_at(x, y, 12) for x, y in spots], n / 30)
    assert len(tracker._tracks) <= 1024


SPOTS = st.tuples(
    st.floats(-50, 700), st.floats(-50, 500), st.floats(0, 200), st.sampled_from(["car", "person"])
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.lists(SPOTS, max_size=12), st.floats(-0.2, 3)), min_size=1, max_size=12))
def test_every_place_gets_one_track_of_its_own_and_new_ids_only_rise(history):
    tracker = Tracker()
    time_s, highest, of_id = 0.0, 0, {}
    for spots, step_s in history:
        time_s = max(0.0, time_s + step_s)
        places = [place_at(x, y, size, prompt) for x, y, size, prompt in spots]
        tracked = tracker.update(places, time_s)
        assert [t.place for t in tracked] == places
        assert len(set(ids(tracked))) == len(places)
        for t in tracked:
            assert of_id.setdefault(t.track_id, t.place.prompt) == t.place.prompt
            assert 0 <= t.age <= time_s
        new = sorted(i for i in ids(tracked) if i > highest)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)


SIZE = (WIDTH, HEIGHT)


def camera(shift=(0.0, 0.0), turn=0.0, zoom=1.0):
    """The motion of a camera that turns and zooms about the frame's middle, then shifts the picture."""
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix[:2, 2] = middle - matrix[:2, :2] @ middle + shift
    return CameraMotion(matrix)


def follow(motions, spots, tracker=None, visible=lambda number, thing: True, size=24.0):
    """Feeds standing things under a moving camera; {thing: ids of its confirmed tracks}."""
    tracker = tracker or Tracker()
    spots, of_thing = np.array(spots, np.float64), {}
    for number, motion in enumerate(motions):
        spots = motion.moved(spots)
        inside = ((spots > 0) & (spots < SIZE)).all(axis=1)
        shown = [k for k in np.flatnonzero(inside).tolist() if visible(number, k)]
        places = [place_at(*spots[k], size) for k in shown]
        for item, thing in zip(
            tracker.update(places, number / 10, motion=motion, frame_size=SIZE), shown, strict=True
        ):
            if item.confirmed:
                of_thing.setdefault(thing, set()).add(item.track_id)
    return of_thing


GRID = [(x, y) for x in range(-600, 1300, 90) for y in range(-600, 1000, 90)]


@pytest.mark.parametrize(
    "motions",
    [
        [camera(turn=0.1) for _ in range(80)],
        [camera(zoom=1.03 if number % 40 < 20 else 1 / 1.03) for number in range(80)],
        [camera(shift=(30 if number % 40 < 20 else -30, 0)) for number in range(80)],
        [camera(shift=(25 * (-1) ** number, 0)) for number in range(80)],
    ],
    ids=["turns", "zooms", "swings away and back", "shakes"],
)
def test_what_stands_is_one_thing_whatever_the_camera_does_and_when_it_comes_back_too(motions):
    of_thing = follow(motions, GRID)
    assert len(of_thing) > 25
    assert {len(tracks) for tracks in of_thing.values()} == {1}


def test_a_thing_that_stands_is_remembered_while_it_is_hidden_but_only_where_the_motion_is_known():
    hidden = range(10, 60)
    motions = [camera(shift=(2.0, 0.0)) for _ in range(80)]
    known = follow(motions, [(100, 100)], visible=lambda number, thing: number not in hidden)
    assert len(known[0]) == 1
    tracker, seen = Tracker(), set()
    for number in range(80):
        places = [] if number in hidden else [place_at(100 + 2 * number, 100)]
        seen |= {t.track_id for t in tracker.update(places, number / 10, frame_size=SIZE) if t.confirmed}
    assert len(seen) == 2


def test_a_thing_that_drives_out_of_the_frame_is_not_confused_with_one_that_drives_in():
    tracker, seen = Tracker(), {}
    for number in range(240):
        x = (15 * number) % 900 + 10  # one after the other, through the whole frame
        if x < WIDTH:
            (item,) = tracker.update([place_at(x, 100)], number / 10, motion=camera(), frame_size=SIZE)
            seen.setdefault(15 * number // 900, set()).add(item.track_id)
        else:
            tracker.update([], number / 10, motion=camera(), frame_size=SIZE)
    assert [len(tracks) for tracks in seen.values()] == [1, 1, 1, 1]
    assert len(set.union(*seen.values())) == 4


def test_faint_places_keep_a_confirmed_track_and_start_none():
    tracker = Tracker()
    weak = place_at(300, 200, score=0.2)
    assert tracker.update([], 0.0, faint=[weak]) == ()
    for number in range(1, 5):
        (first,) = tracker.update([place_at(50, 60)], number / 10, faint=[weak])
    faint = [weak, place_at(51, 60, score=0.3)]
    (kept,) = tracker.update([], 0.5, faint=faint)
    assert (kept.place, kept.track_id, kept.confirmed) == (faint[1], first.track_id, True)


def test_faint_places_bridge_a_second_and_then_only_tell_where_the_thing_is():
    tracker = Tracker()
    for number in range(4):
        (first,) = tracker.update([place_at(50 + 5 * number, 60)], number / 10)
    counted = [
        tracker.update([], number / 10, faint=[place_at(50 + 5 * number, 60, score=0.2)])
        for number in range(4, 60)
    ]
    assert [len(tracked) for tracked in counted] == [1] * 10 + [0] * 46  # until 1 s after 0.3 s
    (back,) = tracker.update([place_at(350, 60)], 6.0)
    assert back.track_id == first.track_id


def test_a_thing_seen_at_the_edge_for_a_moment_does_not_seem_to_drive_off():
    chance = np.random.default_rng(0)
    for _ in range(20):
        tracker, seen, spots = Tracker(), set(), np.array([[20.0, 200.0]])
        for number in range(120):
            motion = camera(shift=(-8.0 if number < 40 else 8.0, 0.0) if 5 <= number < 75 else (0.0, 0.0))
            spots = motion.moved(spots)
            centre = spots[0] + chance.normal(0, 4, 2)
            low, high = np.maximum(centre - 15, 0), centre + 15
            places = [Place("car", 0.8, 1.0, (low[0], low[1], high[0], high[1]))] if spots[0, 0] > 0 else []
            tracked = tracker.update(places, number / 10, motion=motion, frame_size=SIZE)
            seen |= {item.track_id for item in tracked if item.confirmed}
        assert seen == {1}


def test_a_strong_place_goes_before_a_nearer_faint_one_and_comes_first():
    tracker = Tracker()
    for number in range(4):
        tracker.update([place_at(50, 60), place_at(200, 60)], number / 10)
    strong, faint = place_at(54, 60), [place_at(50, 60, score=0.2), place_at(200, 60, score=0.2)]
    tracked = tracker.update([strong], 0.4, faint=faint)
    assert [item.place for item in tracked] == [strong, faint[1]]
    assert ids(tracked) == [1, 2]


def test_a_box_that_the_frames_edge_cuts_off_still_stands():
    spots = np.array([[60.0, 200.0]])
    tracker = Tracker()
    for number in range(40):
        motion = camera(shift=(-6.0 if number < 20 else 6.0, 0.0))
        spots = motion.moved(spots)
        low, high = np.maximum(spots[0] - 40, 0), spots[0] + 40
        places = [Place("car", 0.8, 1.0, (low[0], low[1], high[0], high[1]))] if high[0] > 30 else []
        tracked = tracker.update(places, number / 10, motion=motion, frame_size=SIZE)
    assert ids(tracked) == [1]


def test_another_frame_size_is_another_recording():
    tracker = Tracker()
    for number in range(4):
        before = tracker.update([place_at(50, 60)], number / 10, frame_size=SIZE)
    after = tracker.update([place_at(50, 60)], 0.4, frame_size=(2 * WIDTH, 2 * HEIGHT))
    assert ids(after) != ids(before)


def test_no_id_is_used_again_after_a_reset():
    tracker = Tracker()
    assert ids(tracker.update([place_at(50, 60), place_at(90, 60)], 0.0)) == [1, 2]
    tracker.reset()
    assert ids(tracker.update([place_at(50, 60)], 0.0)) == [3]


@pytest.mark.parametrize(("looked_at", "known_again"), [([(200.0, 0.0, 400.0, 300.0)], True), (None, False)])
def test_what_was_not_looked_at_was_not_missed(looked_at, known_again):
    tracker = Tracker()
    first = ids(tracker.update([place_at(50, 60)], 0.0, motion=camera(), frame_size=SIZE))
    for number in range(1, 9):  # a track so young is given up after half a second and two updates
        tracker.update([], number / 10, motion=camera(), frame_size=SIZE, looked_at=looked_at)
    again = ids(tracker.update([place_at(50, 60)], 0.9, motion=camera(), frame_size=SIZE))
    assert (again == first) is known_again


def test_looks_tell_neighbours_apart_where_boxes_do_not():
    chance = np.random.default_rng(0)
    looks = chance.normal(0, 1, (6, 8)).astype(np.float32)

    def places(spots):
        return [
            Place("car", 0.8, 1.0, (x - 12, 88.0, x + 12, 112.0), embedding=np.append(look, [9.0, 9.0]))
            for x, look in zip(spots, looks, strict=True)
        ]

    spots = np.arange(6) * 20.0 + 50
    swapped = [place for pair in zip(places(spots)[1::2], places(spots)[::2], strict=True) for place in pair]
    tracker = Tracker(embedding_width=8)
    for number in range(4):
        first = ids(tracker.update(places(spots), number / 10, motion=camera()))
    jumped = tracker.update(places(spots + 10), 0.4, motion=camera())  # right between the old places
    assert ids(jumped) == first
    assert sorted(ids(tracker.update(swapped, 0.5, motion=camera()))) == first


def test_the_motion_that_was_guessed_is_told():
    tracker, chance = Tracker(), np.random.default_rng(0)
    spots = chance.uniform([100, 100], [500, 300], (12, 2))
    tracker.update([place_at(x, y) for x, y in spots], 0.0)
    assert tracker.motion is None
    tracker.update([place_at(x + 40, y - 10) for x, y in spots], 0.1)
    assert tracker.motion.moved(spots) == pytest.approx(spots + np.array([40, -10]), abs=1.0)
    given_one = camera(turn=0.2)
    tracker.update([], 0.2, motion=given_one)
    assert tracker.motion is given_one


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(SPOTS, max_size=8),
            st.lists(SPOTS, max_size=8),
            st.floats(-3, 3),
            st.floats(0.3, 3),
            st.tuples(st.floats(-900, 900), st.floats(-900, 900)),
            st.sampled_from([0.0, 1e-9, 0.1, 5.0, 1e6]),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_no_motion_gap_or_faint_place_breaks_the_rules(history):
    tracker, time_s, known = Tracker(), 0.0, set()
    for spots, weak, turn, zoom, shift, step_s in history:
        time_s += step_s
        places, faint = ([place_at(x, y, s, p, 0.5) for x, y, s, p in some] for some in (spots, weak))
        tracked = tracker.update(
            places, time_s, faint=faint, motion=camera(shift, turn, zoom), frame_size=SIZE
        )
        assert [t.place for t in tracked[: len(places)]] == places
        went_on = tracked[len(places) :]
        assert all(any(t.place is place for place in faint) for t in went_on)
        assert all(t.confirmed and t.track_id in known for t in went_on)
        assert len(set(ids(tracked))) == len(tracked)
        known |= {t.track_id for t in tracked if t.confirmed}
