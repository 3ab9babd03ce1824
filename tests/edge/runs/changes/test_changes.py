"""`remoteclip changes` on flights over a ground of noise, where every thing and every change is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.cli import app
from edge.geo.camera import CameraModel
from edge.geo.earth import LocalPlane
from edge.geo.locate import Locator
from edge.geo.pose import Pose, PoseAccuracy
from edge.runs.changes.compare import Comparison, compare_runs
from edge.runs.changes.looks import facing, inverse, transformed
from edge.runs.changes.report import lines
from edge.runs.format import RunError
from edge.runs.reader import Run
from edge.runs.writer import RunWriter

PLANE = LocalPlane(46.5, 7.25)
CAMERA = CameraModel.from_hfov(73.7)
LOCATOR = Locator(CAMERA)
ACCURACY = PoseAccuracy(1.0, 1.0, 1.0, 0.5)
SIZE, WIDTH, HEIGHT = 2.0, 320, 192
"""Metres of a thing; pixels of a frame."""

Things = Sequence[tuple[str, float, float]]


def ground(things: Things, seed: int = 0) -> np.ndarray:
    """(600, 1200, 3): 60 m by 120 m of blotches at 0.1 m, a flat square for every thing."""
    coarse = np.random.default_rng(seed).integers(0, 256, (120, 240), np.uint8)
    grey = cv2.resize(coarse, (1200, 600), interpolation=cv2.INTER_CUBIC)
    for prompt, north, east in things:
        y, x, half = round(600 - 10 * north), round(10 * east), round(5 * SIZE)
        grey[y - half : y + half, x - half : x + half] = 255 if prompt == "red" else 0
        grey[y - half // 2 : y, x - half // 2 : x] = 128
    return np.repeat(grey[..., None], 3, axis=2)


class Flight:
    """A nadir camera along the ground's middle from west to east, or back, upside down then.

    With `oncoming` a red thing comes towards it, as fast: always found, never twice in one place.
    """

    def __init__(
        self,
        things: Things,
        *,
        back: bool = False,
        gsd: float = 0.15,
        start: float = 30,
        end: float = 90,
        oncoming: bool = False,
    ):
        self.things, self.back, self.gsd, self.oncoming = things, back, gsd, oncoming
        self.pixels = ground(things)
        eastward = np.arange(start, end + 0.1, 2.0)
        self.easts = eastward[::-1] if back else eastward

    def to_pixels(self, east: float) -> np.ndarray:
        """(3, 3) from metres north, east to pixels."""
        sign = -1 if self.back else 1
        matrix = np.array([[0, sign / self.gsd, 0], [-sign / self.gsd, 0, 0], [0, 0, 1.0]])
        matrix[:2, 2] = np.array([WIDTH, HEIGHT]) / 2 - matrix[:2, :2] @ [30, east]
        return matrix

    def frames(self, make_result: Callable, shift: tuple[float, float], *, poses: bool) -> Iterator[object]:
        """What a model that finds everything would make of it; `shift` is what the telemetry is off by."""
        for number, east in enumerate(self.easts):
            matrix = self.to_pixels(east)
            photo = np.array([[0, -0.1, 60], [0.1, 0, 0], [0, 0, 1.0]])
            pixels = cv2.warpPerspective(self.pixels, matrix @ photo, (WIDTH, HEIGHT))
            height = self.gsd * WIDTH * CAMERA.focal_x
            latitude, longitude = map(float, PLANE.to_degrees(np.array([30 + shift[0], east + shift[1]])))
            yaw = 180.0 if self.back else 0.0
            pose = Pose(latitude, longitude, height, yaw, -90.0, 0.0, ACCURACY)
            half = SIZE / self.gsd / 2
            tracks = []
            ahead = [("red", 38.0, self.easts[0] + self.easts[-1] - east)] if self.oncoming else []
            for track, (prompt, north, there) in enumerate([*self.things, *ahead], start=1):
                x, y = (matrix @ [north, there, 1])[:2]
                if track > len(self.things):
                    cv2.circle(pixels, (round(x), round(y)), round(half), (255, 255, 255), -1)
                if half < x < WIDTH - half and half < y < HEIGHT - half:
                    tracks.append((track, prompt, 0.9, (x - half, y - half, x + half, y + half)))
            points = np.array([[(b[0] + b[2]) / 2, (b[1] + b[3]) / 2] for *_, b in tracks]).reshape(-1, 2)
            located = LOCATOR.locate(points, pose, (WIDTH, HEIGHT))
            known = list(zip(located.latitude, located.longitude, located.h_acc_m, strict=True))
            yield make_result(
                number,
                (1, east / 60, 1, 0, 0, 0),
                tracks,
                pixels=pixels,
                pose=pose if poses else None,
                ground=known if poses else None,
            )


@pytest.fixture
def fly(tmp_path, about, make_result) -> Callable[..., Path]:
    """Record a flight; its run."""

    def record(flight: Flight, *, poses: bool = True, shift: tuple[float, float] = (0, 0), **facts) -> Path:
        writer = RunWriter.open(
            tmp_path / "runs",
            replace(about, **facts),
            thumbnail_every_s=0.2,
            locate=LOCATOR.locate,
            wait=True,  # no picture is left out, however fast the frames come
        )
        with writer:
            for result in flight.frames(make_result, shift, poses=poses):
                writer.add(result)
        return writer.path

    return record


def compared(first: Path, second: Path, **options: bool) -> Comparison:
    with Run(first) as a, Run(second) as b:
        return compare_runs(a, b, **options)


def told(result: Comparison) -> set[tuple[str, str, int]]:
    return {(change.kind, change.prompt, change.track) for change in result.changes}


KEPT = [
    ("red", 25.0, 34.0),
    ("red", 34.0, 45.0),
    ("blue", 27.0, 52.0),
    ("red", 33.0, 62.0),
    ("blue", 26.0, 70.0),
]
BEFORE = [*KEPT, ("red", 30.0, 57.0)]
AFTER = [*KEPT, ("blue", 31.0, 40.0), ("red", 28.0, 82.0)]
CHANGED = {("vanished", "red", 6), ("appeared", "blue", 6), ("appeared", "red", 7)}


@pytest.mark.parametrize("poses", [True, False])
def test_what_changed_is_found_from_the_other_direction_and_height(fly, poses):
    first = fly(Flight(BEFORE), poses=poses)
    second = fly(Flight(AFTER, back=True, gsd=0.18), poses=poses)
    result = compared(first, second)
    assert result.way == ("ground" if poses else "picture")
    assert told(result) == CHANGED
    assert result.kept == (5, 5)
    assert result.unseen == (0, 0)
    assert all(change.confidence > 0.9 and change.found == 0 for change in result.changes)
    if poses:
        vanished = next(change for change in result.changes if change.kind == "vanished")
        at = PLANE.from_degrees(vanished.latitude, vanished.longitude)
        np.testing.assert_allclose(at, (30.0, 57.0), atol=0.1)


def test_what_the_telemetry_is_off_by_is_taken_out(fly):
    result = compared(fly(Flight(BEFORE)), fly(Flight(AFTER, back=True), shift=(2.0, -1.5)))
    np.testing.assert_allclose(result.shift_m, (2.0, -1.5), atol=0.1)
    assert told(result) == CHANGED


@pytest.mark.parametrize("poses", [True, False])
def test_what_drives_through_did_not_vanish(fly, poses):
    """Its own run finds it in one place once, so that the other's finding nothing there says nothing."""
    first = fly(Flight(KEPT, oncoming=True, start=62), poses=poses)
    result = compared(first, fly(Flight(KEPT, back=True, start=62), poses=poses))
    assert told(result) == set()
    assert result.unsure == (1, 0)
    assert told(compared(first, first)) == set()


@pytest.mark.parametrize("poses", [True, False])
def test_nothing_is_said_of_what_the_other_did_not_look_at(fly, poses):
    first = fly(Flight(BEFORE, end=60), poses=poses)
    second = fly(Flight(KEPT, start=60), poses=poses)
    result = compared(first, second)
    assert told(result) == {("vanished", "red", 6)}
    assert result.unseen[0] >= 1
    assert all(change.looks for change in result.changes)


def test_the_area_is_that_of_the_footprints(fly):
    result = compared(fly(Flight(BEFORE, start=30, end=50)), fly(Flight(BEFORE, start=40, end=80)))
    wide, high = 0.15 * WIDTH, 0.15 * HEIGHT
    expected = [high * (wide + length) for length in (20, 40, 10)]
    np.testing.assert_allclose(result.area_m2, expected, rtol=0.15)


def test_a_model_that_changes_its_mind_is_no_change(fly):
    """The square is in both flights' pictures; only the second flight's model misses it."""
    blind = Flight(BEFORE, back=True)
    blind.things = [thing for thing in BEFORE if thing != BEFORE[-1]]
    result = compared(fly(Flight(BEFORE)), fly(blind))
    assert told(result) == set()
    assert result.unsure == (1, 0)


@pytest.mark.parametrize("poses", [True, False])
def test_flights_over_different_places_are_refused(fly, poses):
    first = fly(Flight(BEFORE, end=40), poses=poses)
    far = Flight(BEFORE, end=40)
    far.pixels = ground((), seed=5)
    second = fly(far, poses=poses, shift=(5000.0, 0))
    said = "saw no ground in common" if poses else "no two of their pictures show one ground"
    with pytest.raises(RunError, match=said):
        compared(first, second)


def test_unlike_lists_and_models_are_refused_or_told(fly, make_result, tmp_path, about):
    first = fly(Flight(BEFORE))
    with pytest.raises(RunError, match=r"recorded with two models, .* and eeeeeeeeeeee"):
        compared(first, fly(Flight(AFTER), bundle_sha256="e" * 64))

    def record(prompts: bytes) -> Path:
        def other(*arguments, **options):
            tracks = [each for each in arguments[2] if each[1] == "red" and b"red" in prompts]
            del options["ground"]
            return make_result(*arguments[:2], tracks, **options, prompts=prompts)

        with RunWriter.open(tmp_path / "runs", about, locate=LOCATOR.locate, wait=True) as writer:
            for result in Flight(BEFORE).frames(other, (0, 0), poses=True):
                writer.add(result)
        return writer.path

    with pytest.raises(RunError, match="looked for nothing in common"):
        compared(first, record(b"version: 1\nprompts:\n  - {id: green, text: green}\n"))
    result = compared(first, record(b"version: 1\nprompts:\n  - {id: red, text: red}\n"))
    assert (result.prompts, result.others) == (("red",), ("blue",))
    assert any("not compared, not asked in the same words by both: blue" in line for line in lines(result))


def test_the_command_tells_and_draws(fly, tmp_path):
    first, second = fly(Flight(BEFORE)), fly(Flight(AFTER, back=True))
    page = tmp_path / "changes.html"
    runner = CliRunner()
    result = runner.invoke(app, ["changes", str(first), str(second), "-o", str(page)])
    assert result.exit_code == 0, result.output
    assert "red vanished: 1" in result.stdout
    assert "not looked at by the other: 0" in result.stdout
    shown = page.read_text()
    assert shown.count("<img") == 2 * len(CHANGED)
    assert shown.count("<small>first flight, frame ") == len(CHANGED)
    assert shown.count("<small>second flight, frame ") == len(CHANGED)
    assert "red circle</b>" in shown
    assert "not of the ground" in shown
    changed = [line for line in result.stdout.splitlines() if "the other flight found it" in line]
    assert sorted(line.split()[1] for line in changed) == ["first", "second", "second"]
    as_json = runner.invoke(app, ["changes", str(first), str(second), "--json"])
    assert len(json.loads(as_json.stdout)["changes"]) == len(CHANGED)
    missing = runner.invoke(app, ["changes", str(first), str(tmp_path / "none.run")])
    assert (missing.exit_code, "no such run" in missing.stderr) == (1, True)
    nowhere = runner.invoke(app, ["changes", str(first), str(second), "-o", str(tmp_path / "no" / "x.html")])
    assert nowhere.exit_code == 2


def test_runs_of_unrelated_images_are_refused_with_the_mend(fly):
    images = fly(Flight(BEFORE, end=40), independent=True)
    result = CliRunner().invoke(app, ["changes", str(images), str(images)])
    assert result.exit_code == 1
    assert "is of unrelated images" in result.stderr
    assert "--sequence" in result.stderr


def test_a_run_without_frames_is_refused(fly, tmp_path, about):
    empty = RunWriter.open(tmp_path / "runs", about)
    empty.close()
    with pytest.raises(RunError, match="holds no frames"):
        compared(fly(Flight(BEFORE)), empty.path)


numbers = st.floats(-1e3, 1e3)


@given(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=9), st.floats(0.1, 10), st.floats(-1e-4, 1e-4)
)
def test_a_homography_and_its_inverse_bring_points_back(points, scale, tilt):
    matrix = np.array([[scale, 0.2, 5], [-0.1, scale, 3], [tilt, tilt, 1]])
    rows = np.array(points)
    there = transformed(facing(matrix, np.zeros(2)), rows)
    assert np.isfinite(there).all()  # 1e3 * 1e-4 twice: all on the near side
    back = transformed(facing(inverse(matrix), there[0]), there)
    np.testing.assert_allclose(back, rows, atol=1e-4)
