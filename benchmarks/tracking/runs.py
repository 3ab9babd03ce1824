"""Real runs whose labels have no identities: how far off is the count of a frame, and do faint places help?

Both sets come at about one frame a second or slower: cars on the move are elsewhere in every frame, so this
tells little of tracking, and all of what the tracker lets count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import firmware_cfg
from benchmarks.tracking.rivals import ByteTrack
from benchmarks.tracking.score import overlaps
from edge.bundle.load import load_bundle
from edge.lookup import Place
from edge.pipeline import Pipeline
from edge.sources import open_source
from firmware_cfg.prompt_list import load_prompt_list

_PROMPTS = Path(firmware_cfg.__file__).parent / "prompts" / "traffic.yaml"
_VEHICLES = {"vehicle", "large_vehicle"}
_FPS = 1.0
_ON_THING = 0.2
_RUNS = (
    ("cats_vehicles, one crossroads", "cats_vehicles", set[int]()),
    ("aerial_cars, Munich MOS74 to 93", "aerial_cars", {4}),
)
"""Title, folder, and the labels' classes that are no vehicles of this list (cyclists)."""


@dataclass(slots=True)
class Counted:
    """Errors of one way of counting: its number in each frame less the true one."""

    errors: list[int] = field(default_factory=list)

    def cell(self) -> str:
        """Mean absolute error a frame, and the mean one."""
        return f"{np.abs(self.errors).mean():.2f} ({np.mean(self.errors):+.2f})"


def runs_table(data: Path) -> str:
    """Markdown: count errors a frame, and how many of the faint places that counted were things."""
    ways = ("places alone", "ours, faint places too", "ByteTrack")
    lines = [
        f"| run | frames | true a frame | {' | '.join(ways)} | faint that counted: true, false |",
        "| --- " * 7 + "|",
    ]
    bundle, prompt_list = load_bundle("default"), load_prompt_list(_PROMPTS)
    for title, folder, left_out in _RUNS:
        counted = {way: Counted() for way in ways}
        true, good, bad = 0, 0, 0
        images = data / folder / "images" / "test"
        with (
            open_source(str(images), sequence=True) as source,
            Pipeline(bundle, prompt_list) as pipeline,
        ):
            rival: ByteTrack | None = None
            for frame in source:
                result = pipeline.process(frame)
                labels = data / folder / "labels" / "test" / Path(frame.name).with_suffix(".txt")
                things = _boxes(labels, left_out, frame.width, frame.height)
                places = list(_vehicles(result.scores.places))
                faint = list(_vehicles(result.scores.faint))
                if rival is None:
                    rival = ByteTrack(_FPS, float(result.bank.object_thresholds.min()))
                tracks = list(_vehicles(tracked.place for tracked in result.tracks))
                theirs, _ = rival.update(np.empty((0, 0, 3), np.uint8), places, faint, frame.time_s)
                for way, number in zip(ways, (len(places), len(tracks), len(theirs)), strict=True):
                    counted[way].errors.append(number - len(things))
                went_on = np.array([place.box for place in tracks[len(places) :]], np.float64).reshape(-1, 4)
                hits = int((overlaps(went_on, things).max(axis=1, initial=0) > _ON_THING).sum())
                true, good, bad = true + len(things), good + hits, bad + len(went_on) - hits
        frames = len(counted[ways[0]].errors)
        cells = " | ".join(counted[way].cell() for way in ways)
        lines.append(f"| {title} | {frames} | {true / frames:.1f} | {cells} | {good}, {bad} |")
    return "\n".join(lines)


def _vehicles(places: Iterator[Place] | tuple[Place, ...]) -> Iterator[Place]:
    return (place for place in places if place.prompt in _VEHICLES)


def _boxes(labels: Path, left_out: set[int], width: int, height: int) -> NDArray[np.float64]:
    """(N, 4) x1 y1 x2 y2 in pixels of the frame, from a YOLO file."""
    rows = [line.split() for line in labels.read_text().splitlines() if line.strip()]
    marked = [[float(number) for number in row[1:5]] for row in rows if int(row[0]) not in left_out]
    boxes = np.array(marked, np.float64).reshape(-1, 4) * [width, height, width, height]
    return np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
