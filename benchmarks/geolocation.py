"""How far off positions on the ground are, and how often within the h_acc that is told with them.

    python benchmarks/geolocation.py [--draws N] [--auair FOLDER] [--json]

Simulation: a drone flies about 8 m/s over flat ground, speeds up, brakes and turns, and reports itself with
errors as a device file states them: position, height, heading, the drone's roll and pitch, the clock, and two
pixels in the picture. What it reports goes through the flight record and the locator; the places are held
against the true ones. A recording is asked between two of its samples; a live frame may be younger than the
newest position, from which the record then goes on.

`--auair`: real telemetry has no true places. There, still points of the ground that two pictures of one clip
share (SIFT) are located from both, with each picture's own telemetry: how far the two places are apart is
held against both h_acc together. What AU-AIR does not record (lens, the camera's pitch in each clip) is
fitted on every other pair of pictures, and the table is of the remaining pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.geo.attitude import from_angles, multiply, to_angles
from edge.geo.camera import CameraModel
from edge.geo.earth import LocalPlane
from edge.geo.ground import GroundPoints
from edge.geo.locate import PIXEL_SIGMA, Locator
from edge.geo.pose import Pose, PoseAccuracy
from edge.telemetry.auair import read_auair
from edge.telemetry.position import Position
from edge.telemetry.record import FlightRecord
from firmware_cfg.device import Accuracy, Camera, Telemetry
from firmware_cfg.errors import RemoteclipError

Floats = npt.NDArray[np.float64]
SIZE = (1280, 720)
HFOV_DEG = 70.0
SPEED_MPS = 8.0
PLACE = LocalPlane(47.0, 8.0)
OWN_SHARE = 1 / 3
"""Of a position's stated error, what is each sample's own; the rest all samples of a moment share."""
ACCELERATION_MPS2, TURN_RATE_DPS = 2.0, (20.0, 10.0, 10.0)  # one standard deviation an axis
AHEADS_S = (0.1, 0.3, 0.6)  # moments after the newest position; the newest attitude is 0.05 s old
HEIGHTS_M = (20, 40, 80, 120)
PITCHES_DEG = (-90, -75, -60, -45, -30)
SENSORS = {
    "common GPS": Accuracy(),
    "RTK": Accuracy(horizontal_m=0.03, height_m=0.1, heading_deg=1.0, tilt_deg=0.5, time=0.02),
}
EXACT = PoseAccuracy(0, 0, 0, 0)
AUAIR_SENSORS = Accuracy(horizontal_m=2.5, height_m=1.5, heading_deg=5.0, tilt_deg=1.5, time=0.1)
"""A Bebop 2's, as its class of sensors is known for; stated before looking at the pairs."""
AUAIR_SIZE = (1920, 1080)
AUAIR_HFOVS_DEG = range(50, 91, 5)
AUAIR_PITCHES_DEG = range(-90, -29, 5)
AUAIR_POINTS = 40
"""Of each pair of pictures, evenly out of all."""
NOWHERE = 3.0
"""What a point counts in the fit that cannot be located: as if it were three times its radius off."""


@dataclass(frozen=True)
class Row:
    """Errors (or distances) of the places that were located, and how many of the told radii hold."""

    name: str
    places: int
    located: float
    p50_m: float
    p95_m: float
    h_acc_m: float
    covered: float

    @classmethod
    def of(cls, name: str, errors: Floats, h_acc: Floats) -> Row:
        """NaN for a place that was not located."""
        known = ~np.isnan(errors)
        found = errors[known]
        if not known.any():
            return cls(name, len(errors), 0.0, np.nan, np.nan, np.nan, np.nan)
        p50, p95 = np.percentile(found, [50, 95])
        told = float(np.median(h_acc[known]))
        covered = float((found <= h_acc[known]).mean())
        return cls(name, len(errors), float(known.mean()), float(p50), float(p95), told, covered)


def apart(one: GroundPoints, other: GroundPoints, plane: LocalPlane) -> Floats:
    """(N,) metres between places, on a plane near them; NaN where either is none."""
    here, there = (plane.from_degrees(points.latitude, points.longitude) for points in (one, other))
    distance: Floats = np.hypot(*(here - there).T)
    return distance


def simulate(
    height_m: float, pitch_deg: float, sensors: Accuracy, draws: int, ahead_s: float | None = None
) -> tuple[Floats, Floats]:
    """Errors and told radii; every draw is another moment of another flight, `ahead_s` as in AHEADS_S."""
    random = np.random.default_rng(1)
    camera = Camera(hfov_deg=HFOV_DEG, gimbal="fixed", pitch_deg=pitch_deg)
    settings = Telemetry(uri="mavlink:udpin:0.0.0.0:14550", accuracy=sensors)
    model = CameraModel.from_section(camera)
    locator, truth = Locator(model), Locator(model, max_h_acc_m=np.inf)
    asked_s = -0.55 if ahead_s is None else ahead_s
    last_s = asked_s + (0.05 if ahead_s is None else -0.05)
    stated = np.array([sensors.horizontal_m, sensors.horizontal_m, sensors.height_m])
    errors, h_acc = [], []
    for _ in range(draws):
        course = random.uniform(0, 2 * np.pi)
        velocity = SPEED_MPS * np.array([np.cos(course), np.sin(course)])
        faster = random.normal(0, ACCELERATION_MPS2, 2) / 2
        body = np.array([random.uniform(0, 360), *random.normal(0, 3, 2)])  # a drone leans as it flies
        turning = random.normal(0, TURN_RATE_DPS)
        wrong = random.normal(0, [sensors.heading_deg, sensors.tilt_deg, sensors.tilt_deg])
        shared, clock_error = (
            random.normal(0, stated * np.sqrt(1 - OWN_SHARE**2)),
            random.normal(0, sensors.time),
        )
        record = FlightRecord(settings, camera)
        for time_s in np.arange(-6, 1) / 5:
            error, then_s = shared + random.normal(0, stated * OWN_SHARE), time_s + clock_error
            there = velocity * then_s + faster * then_s**2 + error[:2]
            latitude, longitude = map(float, PLACE.to_degrees(there))
            record.add_position(float(time_s), Position(latitude, longitude, height_m + error[2], None))
        for time_s in last_s + np.arange(-2, 1) / 10:
            record.add_body(float(time_s), from_angles(*(body + turning * (time_s + clock_error) + wrong)))
        told = record.pose_at(asked_s)
        if told is None:
            continue
        latitude, longitude = map(float, PLACE.to_degrees(velocity * asked_s + faster * asked_s**2))
        view = to_angles(multiply(from_angles(*(body + turning * asked_s)), from_angles(0, pitch_deg, 0)))
        true = Pose(latitude, longitude, height_m, *view, EXACT)
        pixels = random.uniform((0, 0), SIZE, (40, 2))
        found = locator.locate(pixels + random.normal(0, PIXEL_SIGMA, pixels.shape), told, SIZE)
        errors.append(apart(found, truth.locate(pixels, true, SIZE), PLACE))
        h_acc.append(found.h_acc_m)
    return np.concatenate(errors), np.concatenate(h_acc)


def simulated(sensors: Accuracy, draws: int) -> tuple[list[Row], list[Row]]:
    """Between samples, a row for each height and pitch; and live, a row for all heights."""
    between = [
        Row.of(f"{height:g} m, pitch {pitch:g}", *simulate(height, pitch, sensors, draws))
        for height in HEIGHTS_M
        for pitch in PITCHES_DEG
    ]
    live = []
    for ahead_s in AHEADS_S:
        for pitch in PITCHES_DEG:
            parts = [simulate(height, pitch, sensors, draws, ahead_s) for height in HEIGHTS_M]
            errors, h_acc = map(np.concatenate, zip(*parts, strict=True))
            live.append(Row.of(f"{ahead_s:g} s, pitch {pitch:g}", errors, h_acc))
    return between, live


@dataclass(frozen=True)
class Pair:
    """Two pictures of one clip, and the pixels at which both show the same still points."""

    clip: str
    names: tuple[str, str]
    pixels: tuple[Floats, Floats]


def shared_points(folder: Path, names: list[str]) -> Iterator[Pair]:
    """Pairs of pictures with 25 points or more that one homography explains: a plane, which is the road."""
    import cv2

    sift, matcher = cv2.SIFT_create(3000), cv2.BFMatcher()
    clips: dict[str, list[tuple[str, Floats, npt.NDArray[np.float32]]]] = defaultdict(list)
    for name in sorted(names):
        grey = cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise RemoteclipError(f"{folder / 'images' / name}: not a readable image")
        points, features = sift.detectAndCompute(cv2.resize(grey, (960, 540)), None)
        clips[name.split("_")[1]].append((name, 2.0 * np.array([p.pt for p in points]), features))
    for clip, pictures in clips.items():
        for (name, here, ours), (other, there, theirs) in combinations(pictures, 2):
            good = [a for a, b in matcher.knnMatch(ours, theirs, k=2) if a.distance < 0.75 * b.distance]
            if len(good) < 25:
                continue
            start, end = here[[m.queryIdx for m in good]], there[[m.trainIdx for m in good]]
            _, inliers = cv2.findHomography(start, end, cv2.RANSAC, 4.0)
            kept = np.flatnonzero(inliers) if inliers is not None else np.empty(0, dtype=int)
            if len(kept) >= 25:
                kept = kept[np.linspace(0, len(kept) - 1, min(AUAIR_POINTS, len(kept))).astype(int)]
                yield Pair(clip, (name, other), (start[kept], end[kept]))


def disagreement(
    pairs: list[Pair], annotations: Path, hfov_deg: float, pitch_deg: float
) -> list[tuple[Floats, Floats]]:
    """For every pair: metres between the two places of each point, and both radii together."""
    camera = Camera(hfov_deg=hfov_deg, gimbal="stabilised", pitch_deg=pitch_deg)
    record = FlightRecord(Telemetry(uri=str(annotations), accuracy=AUAIR_SENSORS), camera)
    moments, locator = read_auair(annotations, record), Locator(CameraModel.from_section(camera))
    found = []
    for pair in pairs:
        poses = [record.pose_at(moments[name]) for name in pair.names]
        if (first := poses[0]) is None or (second := poses[1]) is None:
            continue
        places = [
            locator.locate(pixels, pose, AUAIR_SIZE)
            for pixels, pose in zip(pair.pixels, (first, second), strict=True)
        ]
        plane = LocalPlane(first.latitude, first.longitude)
        found.append((apart(*places, plane), np.hypot(places[0].h_acc_m, places[1].h_acc_m)))
    return found


def auair_rows(folder: Path) -> tuple[int, list[Row]]:
    """The field of view that fits best, and one row a clip."""
    annotations = folder / "annotations.json"
    names = [entry["image_name"] for entry in json.loads(annotations.read_bytes())["annotations"]]
    clips: dict[str, list[Pair]] = defaultdict(list)
    for pair in shared_points(folder, names):
        clips[pair.clip].append(pair)

    def misfit(clip: str, hfov_deg: float, pitch_deg: float) -> float:
        # Against the told radius: bare metres would favour a camera that looks down, whatever is true.
        found = disagreement(clips[clip][::2], annotations, hfov_deg, pitch_deg)
        return float(np.mean([np.median(np.nan_to_num(d / h, nan=NOWHERE)) for d, h in found]))

    misfits = {
        hfov: {clip: {p: misfit(clip, hfov, p) for p in AUAIR_PITCHES_DEG} for clip in clips}
        for hfov in AUAIR_HFOVS_DEG
    }
    best = min(misfits, key=lambda hfov: sum(min(by.values()) for by in misfits[hfov].values()))
    rows = []
    for clip, pairs in clips.items():
        by_pitch = misfits[best][clip]
        pitch = min(by_pitch, key=lambda each: by_pitch[each])
        found = disagreement(pairs[1::2], annotations, best, pitch)
        errors, h_acc = (np.concatenate(part) for part in zip(*found, strict=True))
        rows.append(Row.of(f"{clip}, pitch {pitch} fitted, {len(found)} pairs", errors, h_acc))
    return best, rows


def show(title: str, rows: list[Row]) -> None:
    """One table."""
    width = max(len(row.name) for row in rows)
    print(f"\n{title}\n{'':<{width}}  located   p50 m   p95 m   h_acc m (median)  covered")
    for row in rows:
        metres = f"{row.p50_m:6.2f}  {row.p95_m:6.2f}  {row.h_acc_m:16.2f}"
        print(f"{row.name:<{width}}  {row.located:7.1%}  {metres}  {row.covered:7.1%}")


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=400, help="simulated moments a setting")
    parser.add_argument("--auair", type=Path, help="folder with annotations.json and images/")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args()
    tables = {}
    for name, sensors in SENSORS.items():
        between, live = simulated(sensors, options.draws)
        tables[f"simulated, {name}, between samples: {sensors}"] = between
        tables[f"simulated, {name}, live, so long after the newest position"] = live
    if options.auair is not None:
        hfov, rows = auair_rows(options.auair)
        tables[f"AU-AIR, two pictures of one place, field of view {hfov}° fitted"] = rows
    if options.json:
        print(json.dumps({title: [vars(row) for row in rows] for title, rows in tables.items()}))
    else:
        for title, rows in tables.items():
            show(title, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
