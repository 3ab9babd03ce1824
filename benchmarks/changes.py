"""Planted differences between two virtual flights: what `remoteclip changes` finds, misses and makes up.

    python benchmarks/changes.py ../shared/data

The ground is the demo's orthophoto with real vehicles (cats_vehicles' test images) pasted on open ground,
some before only, some after only, some both times; before the second flight some trees are painted over
(OpenCV's inpainting). The second flight crosses at 90 degrees, higher, under another light, and sees
a part of the area that the first did not and the other way round. Its telemetry is noisy, and off by a few
metres as a whole. The model, the pipeline, the recorder and the comparison are the drone's own.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np

from edge.bundle.load import load_bundle
from edge.demo.orthophoto import Orthophoto, load_orthophoto
from edge.frames import Frame, RgbImage
from edge.geo.camera import CameraModel
from edge.geo.earth import LocalPlane
from edge.geo.locate import Locator
from edge.geo.pose import Pose, PoseAccuracy
from edge.pipeline import Pipeline
from edge.runs.changes.compare import Comparison, compare_runs
from edge.runs.changes.things import Side
from edge.runs.format import RunAbout
from edge.runs.reader import Run
from edge.runs.writer import RunWriter
from edge.sources.images import read_rgb
from firmware_cfg.prompt_list import load_prompt_bytes

LIST = b"""version: 1
prompts:
  - id: vehicle
    text: ["a vehicle seen from above", "a car seen from above"]
    threshold: 0.4
  - id: tree
    text: ["a tree seen from above", "a tree crown seen from above", "a tree"]
    threshold: 0.15
background: ["bare ground", "dry grass", "rocks"]
"""
PLANE = LocalPlane(44.9, -110.5)
CAMERA = CameraModel.from_hfov(73.7)
ACCURACY = PoseAccuracy(horizontal_m=1.5, height_m=1.0, heading_deg=1.5, tilt_deg=0.5)
CAR_M, GROUND_M, FRAME, FPS, SPEED = 4.6, 0.05, (1280, 720), 5.0, 8.0
STAYS, VANISHES, APPEARS, FELLED = 12, 10, 10, 10


@dataclass(frozen=True)
class Planted:
    """A difference: what, where in pixels of the orthophoto, and which way."""

    kind: str
    prompt: str
    at: tuple[float, float]


@dataclass(frozen=True)
class Path2D:
    """A flight: ends of its legs x, y in metres from the photo's corner, and the camera's heading."""

    corners: tuple[tuple[float, float], ...]
    heading_deg: float
    metres_per_pixel: float
    bias_m: tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rng = np.random.default_rng(options.seed)
    photo = load_orthophoto().resampled(GROUND_M)
    before, after, planted = plant(photo, options.data, rng)
    height, width = (side * photo.metres_per_pixel for side in photo.pixels.shape[:2])
    low, high = 25, height - 25
    first = Path2D(
        ((35, low), (35, high), (93, high), (93, low), (150, low), (150, high)), 0.0, 0.05, (0.0, 0.0)
    )
    low, high = 70, width - 25
    second = Path2D(
        ((low, 45), (high, 45), (high, 115), (low, 115), (low, 185), (high, 185)), 90.0, 0.0625, (2.0, -1.5)
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        runs = [
            record(fly(ground, path, rng), folder)
            for ground, path in ((before, first), (darker(after, rng), second))
        ]
        for use_telemetry in (True, False):
            with Run(runs[0]) as a, Run(runs[1]) as b:
                result = compare_runs(a, b, use_telemetry=use_telemetry)
                report(result, a, b, planted, (first, second), photo)


def plant(
    photo: Orthophoto, data: Path, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[Planted]]:
    """The ground before and after, (H, W, 3) RGB, and what differs."""
    spots = open_ground(photo, STAYS + VANISHES + APPEARS, rng)
    before = photo.pixels.copy()
    large = [box for box in photo.boxes if min(box[2:] - box[:2]) > 70]
    felled = [large[n] for n in rng.choice(len(large), FELLED, replace=False)]
    after = fell(before, felled)
    planted = [Planted("vanished", "tree", tuple((box[:2] + box[2:]) / 2)) for box in felled]
    for number, (spot, car) in enumerate(zip(spots, cars(data, len(spots), rng), strict=True)):
        if number < STAYS + VANISHES:
            paste(before, car, spot)
        if number < STAYS or number >= STAYS + VANISHES:
            paste(after, car, spot)
        if number >= STAYS:
            planted.append(Planted("vanished" if number < STAYS + VANISHES else "appeared", "vehicle", spot))
    return before, after, planted


def open_ground(photo: Orthophoto, count: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Spots away from trees, from one another and from the edge."""
    height, width = photo.pixels.shape[:2]
    spots: list[tuple[float, float]] = []
    for _ in range(100_000):
        x, y = rng.uniform(100, width - 100), rng.uniform(100, height - 100)
        gap = np.maximum(np.maximum(photo.boxes[:, :2] - (x, y), (x, y) - photo.boxes[:, 2:]), 0)
        if (np.linalg.norm(gap, axis=1) > 60).all() and all(np.hypot(x - a, y - b) > 180 for a, b in spots):
            spots.append((x, y))
            if len(spots) == count:
                return spots
    raise SystemExit(f"only {len(spots)} of {count} spots found")


def cars(data: Path, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Crops of real vehicles with a rim of their ground, CAR_M long."""
    images = sorted((data / "cats_vehicles" / "images" / "test").iterdir())
    found = 0
    while found < count:
        path = images[rng.integers(len(images))]
        rows = np.loadtxt(data / "cats_vehicles" / "labels" / "test" / f"{path.stem}.txt", ndmin=2)
        if not len(rows):
            continue
        pixels = read_rgb(path)
        scale = np.array([pixels.shape[1], pixels.shape[0]])
        centre, size = rows[rng.integers(len(rows)), 1:].reshape(2, 2) * scale
        low, high = np.round(centre - 0.6 * size).astype(int), np.round(centre + 0.6 * size).astype(int)
        if (low < 0).any() or (high > scale).any() or max(size) < 40:
            continue
        factor = CAR_M / GROUND_M / max(size)
        crop = pixels[low[1] : high[1], low[0] : high[0]]
        found += 1
        yield np.rot90(
            cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), int(rng.integers(4))
        )


def paste(ground: np.ndarray, crop: np.ndarray, at: tuple[float, float]) -> None:
    """In place, its rim faded into the ground."""
    height, width = crop.shape[:2]
    left, top = round(at[0] - width / 2), round(at[1] - height / 2)
    mask = np.zeros((height, width, 1))
    mask[3:-3, 3:-3] = 1
    mask = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None]
    area = ground[top : top + height, left : left + width]
    area[:] = (mask * crop + (1 - mask) * area).astype(np.uint8)


def fell(ground: np.ndarray, boxes: list[np.ndarray]) -> np.ndarray:
    """Trees painted over from their surroundings."""
    mask = np.zeros(ground.shape[:2], np.uint8)
    for x1, y1, x2, y2 in boxes:
        centre, axes = (
            (round((x1 + x2) / 2), round((y1 + y2) / 2)),
            (round((x2 - x1) * 0.6), round((y2 - y1) * 0.6)),
        )
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    return cv2.inpaint(ground, mask, 5, cv2.INPAINT_TELEA)


def darker(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A later hour: darker, warmer, noisier."""
    lit = 255 * (ground / 255.0) ** 1.2 * np.array([0.95, 0.9, 0.82])
    return np.clip(lit + rng.normal(0, 3, ground.shape), 0, 255).astype(np.uint8)


def fly(ground: np.ndarray, path: Path2D, rng: np.random.Generator) -> Iterator[Frame]:
    """Frames of a nadir camera with noisy telemetry."""
    began = datetime(2026, 5, 1, tzinfo=timezone.utc)
    for number, (x, y) in enumerate(waypoints(path)):
        pixels = cv2.warpAffine(
            ground,
            np.linalg.inv(to_photo(path, x, y))[:2],
            FRAME,
            flags=cv2.INTER_LINEAR,
            borderValue=(90, 90, 90),
        )
        east, south = x + path.bias_m[0] + rng.normal(0, 0.3), y - path.bias_m[1] + rng.normal(0, 0.3)
        latitude, longitude = PLANE.to_degrees(np.array([-south, east]))
        pose = Pose(
            float(latitude),
            float(longitude),
            path.metres_per_pixel * FRAME[0] * CAMERA.focal_x + rng.normal(0, 0.3),
            path.heading_deg + rng.normal(0, 0.7),
            -90.0,
            0.0,
            ACCURACY,
        )
        seconds = number / FPS
        image = RgbImage(np.asarray(pixels, np.uint8))
        yield Frame(image, number, seconds, began + timedelta(seconds=seconds), 0, "flight", pose)


def waypoints(path: Path2D) -> Iterator[tuple[float, float]]:
    """Camera positions, metres."""
    for start, end in zip(path.corners[::2], path.corners[1::2], strict=True):
        steps = int(np.hypot(*np.subtract(end, start)) / (SPEED / FPS))
        yield from (tuple(p) for p in np.linspace(start, end, steps))


def to_photo(path: Path2D, x: float, y: float) -> np.ndarray:
    """(3, 3) from pixels of the frame to pixels of the orthophoto, for a camera above x, y metres."""
    scale, angle = path.metres_per_pixel / GROUND_M, np.radians(path.heading_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = np.array([x, y]) / GROUND_M - turn @ np.array(FRAME) / 2
    return matrix


def record(frames: Iterator[Frame], folder: Path) -> Path:
    """Through the pipeline into a run."""
    bundle = load_bundle("default")
    locator = Locator(CAMERA)
    about = RunAbout("flight", bundle.manifest_sha256, bundle.manifest.embedding_width, "")
    with (
        Pipeline(bundle, load_prompt_bytes(LIST, "planted"), locator=locator) as pipeline,
        RunWriter.open(folder, about, thumbnail_every_s=1.0, locate=locator.locate, wait=True) as writer,
    ):
        for frame in frames:
            writer.add(pipeline.process(frame))
    return writer.path


def report(
    result: Comparison,
    a: Run,
    b: Run,
    planted: list[Planted],
    paths: tuple[Path2D, Path2D],
    photo: Orthophoto,
) -> None:
    """Found, missed and made up, by the true place of each reported change."""
    seen = [covered(path, photo) for path in paths]
    told = {"vanished": a.frames(), "appeared": b.frames()}
    places = []
    for change in result.changes:
        path = paths[change.kind == "appeared"]
        x, y = list(waypoints(path))[told[change.kind][change.frame].number]
        centre = [(change.box[0] + change.box[2]) / 2, (change.box[1] + change.box[3]) / 2, 1.0]
        places.append((change, (to_photo(path, x, y) @ centre)[:2]))
    print(f"\n{'with' if result.way == 'ground' else 'without'} telemetry")
    if result.area_m2 is not None:
        print("seen by the first, the second, both: " + ", ".join(f"{m2:.0f} m2" for m2 in result.area_m2))
        print(f"shift found: {result.shift_m}")
    else:
        print(f"pairs of pictures: {result.pictures}")
    print(f"things kept {result.kept}, unsure {result.unsure}, not looked at by the other {result.unseen}\n")
    print(
        "| planted | in sight of both | followed by its own flight | found | missed | made up"
        " | out of sight, and told all the same |"
    )
    print("|---|---|---|---|---|---|---|")
    for prompt, kind in (
        ("vehicle", "vanished"),
        ("vehicle", "appeared"),
        ("tree", "vanished"),
        ("tree", "appeared"),
    ):
        mine = [each for each in planted if (each.prompt, each.kind) == (prompt, kind)]
        both = [each for each in mine if all(grid[int(each.at[1]), int(each.at[0])] for grid in seen)]
        reported = [at for change, at in places if (change.prompt, change.kind) == (prompt, kind)]
        near = [[np.hypot(*np.subtract(each.at, at)) < 50 for at in reported] for each in mine]
        found = sum(any(row) for each, row in zip(mine, near, strict=True) if each in both)
        hidden = sum(any(row) for each, row in zip(mine, near, strict=True) if each not in both)
        false = sum(not any(row[n] for row in near) for n in range(len(reported)))
        own = followed(a if kind == "vanished" else b, prompt, paths[kind == "appeared"])
        known = sum(any(np.hypot(*np.subtract(each.at, at)) < 50 for at in own) for each in both)
        numbers = (f"{len(both)} of {len(mine)}", known, found, len(both) - found, false, hidden)
        print(f"| {prompt} {kind} | " + " | ".join(map(str, numbers)) + " |")


def followed(run: Run, prompt: str, path: Path2D) -> list[np.ndarray]:
    """Where on the orthophoto the things of a prompt are that the flight followed."""
    side, ways = Side(run), list(waypoints(path))
    found = []
    for thing in side.things({prompt}):
        number = side.frames[int(thing.frames[thing.best])].number
        found.append((to_photo(path, *ways[number]) @ [*thing.centres[thing.best], 1.0])[:2])
    return found


def covered(path: Path2D, photo: Orthophoto) -> np.ndarray:
    """Which pixels of the orthophoto any frame showed, 8 pixels inside its edge."""
    seen = np.zeros(photo.pixels.shape[:2], np.uint8)
    inner = np.array([[8, 8], [FRAME[0] - 8, 8], [FRAME[0] - 8, FRAME[1] - 8], [8, FRAME[1] - 8]], float)
    for x, y in waypoints(path):
        matrix = to_photo(path, x, y)
        corners = inner @ matrix[:2, :2].T + matrix[:2, 2]
        cv2.fillConvexPoly(seen, np.round(corners).astype(np.int32), 1)
    return seen.astype(bool)


if __name__ == "__main__":
    main()
