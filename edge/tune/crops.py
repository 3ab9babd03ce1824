"""Which sightings a person gets to see, each with a number that stays the same, and their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edge.tune.calibrate import LOWEST_SCORE
from edge.tune.scoring import F64, Scored, log_odds, probability

if TYPE_CHECKING:
    from edge.frames import Frame, Pixels
    from edge.tune.sightings import Sightings

Group = Literal["best", "borderline", "spread"]
GROUPS: Mapping[Group, int] = {"best": 6, "borderline": 12, "spread": 20}
"""Crops a prompt: its best ones; those nearest to its threshold on either side, where a mark tells most; and
the rest of its range in even steps, so that marks speak for all of it."""
APART_FRAMES = 20
"""Within so many frames of a video the same spot is taken to show the same thing, and is shown once."""
SIDE = 168
"""Pixels of a crop's picture."""
_LEAST_SIDE = 48  # of the frame; the smallest box is shown with its surroundings
_MARGIN = 0.6  # of the box's longer side, on each side
_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Crop:
    """One numbered sighting.

    Attributes:
        number: from 1, through the whole page.
        prompt: whose it is.
        group: why it is shown.
        frame: index of its frame in the sightings.
        place: index of the place, or None where the frame as a whole is meant (a scene prompt).
        score: calibrated, 0 to 1.
    """

    number: int
    prompt: str
    group: Group
    frame: int
    place: int | None
    score: float


def choose(sightings: Sightings, scored: Scored) -> list[Crop]:
    """The crops of every prompt in the list's order. The same sightings and bank give the same numbers."""
    crops: list[Crop] = []
    for prompt in scored.bank.prompt_list.prompts:
        mine, odds = scored.of(prompt.id)
        scene = prompt.kind == "scene"
        threshold = float(log_odds(scored.bank.thresholds[prompt.id]))
        kept = probability(odds) >= LOWEST_SCORE
        weak = not scene and not kept.any()  # only the best are shown: what is looked for may be among them
        shown, odds = (mine, odds) if scene or weak else (mine[kept], odds[kept])
        for group, index in _picked(sightings, shown, odds, threshold, scene):
            if weak and group != "best":
                continue
            item = int(shown[index])
            frame = item if scene else int(sightings.frame[item])
            score = float(probability(odds[index]))
            crops.append(Crop(len(crops) + 1, prompt.id, group, frame, None if scene else item, score))
    return crops


def _picked(
    sightings: Sightings, mine: NDArray[np.int64], odds: F64, threshold: float, scene: bool
) -> list[tuple[Group, int]]:
    """(group, index into `mine`), best score first within a group; nothing twice."""
    picked: dict[int, Group] = {}
    taken = _Taken(sightings, mine, scene)
    orders: dict[Group, NDArray[np.int64]] = {
        "best": np.argsort(-odds, kind="stable"),
        "borderline": np.argsort(abs(odds - threshold), kind="stable"),
    }
    for group, order in orders.items():
        _take(picked, taken, group, order.tolist(), GROUPS[group])
    if len(odds):
        steps = np.linspace(odds.max(), odds.min(), GROUPS["spread"] + 2)[1:-1]
        for step in steps:
            nearest = np.argsort(abs(odds - step), kind="stable")
            # Near its step or not at all: else a gap in the scores would be filled from its edges.
            width = abs(steps[0] - steps[-1]) / len(steps) + 1e-9
            _take(picked, taken, "spread", nearest[abs(odds[nearest] - step) <= width].tolist(), 1)
    groups = list(GROUPS)
    return sorted(
        ((group, index) for index, group in picked.items()),
        key=lambda pair: (groups.index(pair[0]), -odds[pair[1]], pair[1]),
    )


def _take(picked: dict[int, Group], taken: _Taken, group: Group, order: Iterable[int], most: int) -> None:
    for index in order:
        if not most:
            return
        if index not in picked and taken.take(index):
            picked[index] = group
            most -= 1


class _Taken:
    """Which spots are shown already."""

    def __init__(self, sightings: Sightings, mine: NDArray[np.int64], scene: bool) -> None:
        self._frame = mine if scene else sightings.frame[mine]
        self._box = None if scene else sightings.box[mine].astype(np.float64)
        self._independent = sightings.independent
        self._shown: list[int] = []

    def take(self, index: int) -> bool:
        """Whether it shows something new; it is then taken."""
        if not self._independent and any(self._same(index, other) for other in self._shown):
            return False
        self._shown.append(index)
        return True

    def _same(self, one: int, other: int) -> bool:
        if abs(int(self._frame[one]) - int(self._frame[other])) > APART_FRAMES:
            return False
        if self._box is None:
            return True
        a, b = self._box[one], self._box[other]
        reach = 0.5 * (np.hypot(*(a[2:] - a[:2])) + np.hypot(*(b[2:] - b[:2])))
        return bool(np.hypot(*((a[:2] + a[2:]) - (b[:2] + b[2:]))) / 2 < reach)


def cut(frames: Iterable[Frame], sightings: Sightings, crops: Sequence[Crop]) -> dict[int, bytes]:
    """The crops' pictures as JPEG, by number; `frames` is the clip from its start, read as far as needed.

    A frame that cannot be read this time leaves its crops without a picture.
    """
    wanted: dict[int, list[Crop]] = {}
    for crop in crops:
        wanted.setdefault(int(sightings.number[crop.frame]), []).append(crop)
    pictures: dict[int, bytes] = {}
    if not wanted:
        return pictures
    for frame in frames:
        for crop in wanted.pop(frame.number, ()):
            box = None if crop.place is None else sightings.box[crop.place]
            pictures[crop.number] = picture(frame.image.rgb(), box)
        if not wanted:
            break
    return pictures


def picture(pixels: Pixels, box: NDArray[np.floating] | None, width: int = SIDE) -> bytes:
    """JPEG of a place with its surroundings and a frame around it; of the whole picture without a box.

    Args:
        pixels: (H, W, 3) uint8 RGB; only read.
        box: x1 y1 x2 y2 in its pixels.
        width: of the JPEG; a place is shown in a square, a whole picture in its own shape.
    """
    import cv2

    high, wide = pixels.shape[:2]
    if box is None:
        shown = cv2.resize(pixels, (width, max(1, round(width * high / wide))), interpolation=cv2.INTER_AREA)
    else:
        x1, y1, x2, y2 = (float(side) for side in box)
        longer = max(x2 - x1, y2 - y1)
        side = min(max(longer * (1 + 2 * _MARGIN), _LEAST_SIDE), float(max(high, wide)))
        left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
        zoom = width / side
        # What lies beyond the frame's edge is grey, so that the place stays in the middle.
        matrix = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
        how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
        shown = _warp(pixels, matrix, (left, top, side), width, how)
        corners = [(round((x1 - left) * zoom), round((y1 - top) * zoom))]
        corners.append((round((x2 - left) * zoom), round((y2 - top) * zoom)))
        cv2.rectangle(shown, corners[0], corners[1], (0, 0, 0), 3)
        cv2.rectangle(shown, corners[0], corners[1], (255, 214, 10), 1)
    bgr = cv2.cvtColor(np.ascontiguousarray(shown), cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError("OpenCV cannot write JPEG")
    return encoded.tobytes()


def _warp(pixels: Pixels, matrix: F64, area: tuple[float, float, float], width: int, how: int) -> Pixels:
    """The square `area` (left, top, side) at `width` pixels."""
    import cv2

    left, top, side = area
    high, wide = pixels.shape[:2]
    x1, y1 = max(0, int(left)), max(0, int(top))
    part = pixels[y1 : min(high, int(top + side) + 2), x1 : min(wide, int(left + side) + 2)]
    zoom = matrix[0, 0]
    if zoom < 1:  # warping alone would leave pixels out where the picture shrinks
        size = max(1, round(part.shape[1] * zoom)), max(1, round(part.shape[0] * zoom))
        part, zoom = np.asarray(cv2.resize(part, size, interpolation=how), np.uint8), 1.0
    shift = np.array([[zoom, 0, (x1 - left) * matrix[0, 0]], [0, zoom, (y1 - top) * matrix[0, 0]]])
    return np.asarray(
        cv2.warpAffine(part, shift, (width, width), flags=cv2.INTER_CUBIC, borderValue=(128, 128, 128)),
        np.uint8,
    )
