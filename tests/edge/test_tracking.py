from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.lookup import Place
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
