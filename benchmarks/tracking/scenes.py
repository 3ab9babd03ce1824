"""Virtual flights with known truth: how the camera moves, what moves by itself, what is hidden when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking.grounds import Ground

WIDTH, HEIGHT, FPS = 960, 540, 10.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Look:
    """The camera at one moment: the spot of the ground (pixels) it looks at, its turn, its zoom, its tilt."""

    x: float
    y: float
    turn: float = 0.0  # radians
    zoom: float = 1.0
    tilt: float = 0.0  # how much smaller the far edge is: 0 straight down

    def homography(self) -> Floats:
        """(3, 3): pixels of the ground -> pixels of the frame."""
        to_spot = np.array([[1, 0, -self.x], [0, 1, -self.y], [0, 0, 1]])
        cos, sin = self.zoom * np.cos(self.turn), self.zoom * np.sin(self.turn)
        lens = np.array([[cos, -sin, 0], [sin, cos, 0], [0, -self.tilt / HEIGHT * cos, 1]])
        middle = np.array([[1, 0, WIDTH / 2], [0, 1, HEIGHT / 2], [0, 0, 1]])
        return np.asarray(middle @ lens @ to_spot, np.float64)


@dataclass(frozen=True, slots=True)
class Scene:
    """One kind of flight.

    path        (time in seconds, width and height of the ground, dice) -> how the camera looks
    movers      things that drive by themselves, pasted over the ground
    found       chance that a visible thing is found at once; else it may be faint
    hidden_s    how long a thing is hidden when it is (a bridge, a tree crown), on average
    false       false places a frame
    """

    name: str
    path: Callable[[float, Floats, np.random.Generator], Look]
    seconds: float = 16.0
    fps: float = FPS
    movers: int = 0
    found: float = 0.85
    hidden_s: float = 0.0
    false: float = 0.5


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame: `pixels` RGB, and the truth: `boxes` (N, 4) in it, `ids` (N,), `hidden` (N,) of what is."""

    time_s: float
    pixels: NDArray[np.uint8]
    homography: Floats
    boxes: Floats
    ids: NDArray[np.int64]
    hidden: NDArray[np.bool_]


def _survey(t: float, size: Floats, dice: np.random.Generator) -> Look:
    return Look(size[0] * 0.45, 300 + 100 * t)


def _gusts(t: float, size: Floats, dice: np.random.Generator) -> Look:
    x, y = dice.normal(0, 8, 2)
    return Look(size[0] * 0.5 + x, 300 + 60 * t + y, turn=dice.normal(0, 0.01))


def _yaw(t: float, size: Floats, dice: np.random.Generator) -> Look:
    return Look(size[0] * 0.5, size[1] * 0.35 + 20 * t, turn=0.5 * t)


def _zoom(t: float, size: Floats, dice: np.random.Generator) -> Look:
    return Look(size[0] * 0.5 + 20 * t, size[1] * 0.5, zoom=1.2 + 0.5 * np.sin(0.8 * t))


def _hover(t: float, size: Floats, dice: np.random.Generator) -> Look:
    return Look(size[0] * 0.4 + 60 * np.sin(0.9 * t), size[1] * 0.4 + 40 * np.sin(1.3 * t), 0.06 * np.sin(t))


def _swing(t: float, size: Floats, dice: np.random.Generator) -> Look:
    return Look(size[0] * 0.5 + 500 * np.sin(0.8 * t), size[1] * 0.5, turn=0.1 * np.sin(0.5 * t))


def _oblique(t: float, size: Floats, dice: np.random.Generator) -> Look:
    return Look(size[0] * 0.5, size[1] * 0.3 + 60 * t, turn=0.15 * t, tilt=0.4)


SCENES = (
    Scene("survey", _survey),
    Scene("gusts", _gusts),
    Scene("rotation", _yaw),
    Scene("zoom", _zoom),
    Scene("oblique turn", _oblique),
    Scene("hover, half missed", _hover, found=0.5),
    Scene("survey, occlusion", _survey, hidden_s=0.8),
    Scene("rotation, false places", _yaw, false=4.0),
    Scene("swing away and back", _swing),
    Scene("moving things, turning", _oblique, movers=25),
    Scene("moving things, hover", _hover, movers=40, hidden_s=0.5),
    Scene("survey, 3 frames a second", _survey, fps=3.0),
)


@dataclass(slots=True)
class Movers:
    """Things that drive over the ground in wide curves, each at its own speed."""

    spot: Floats
    heading: Floats
    turn: Floats  # radians per second
    speed: Floats  # ground pixels per second
    size: Floats
    colour: NDArray[np.uint8]

    @classmethod
    def scatter(cls, count: int, ground: Ground, dice: np.random.Generator) -> Movers:
        """`count` of them somewhere in the middle of the ground."""
        height, width = ground.pixels.shape[:2]
        return cls(
            spot=dice.uniform([0.15 * width, 0.15 * height], [0.85 * width, 0.85 * height], (count, 2)),
            heading=dice.uniform(0, 2 * np.pi, count),
            turn=dice.normal(0, 0.25, count),
            speed=dice.uniform(20, 110, count),
            size=dice.uniform(22, 44, count),
            colour=dice.integers(30, 240, (count, 3)).astype(np.uint8),
        )

    def drive(self, seconds: float) -> None:
        """Move on by that time."""
        self.heading += self.turn * seconds
        way = np.stack([np.cos(self.heading), np.sin(self.heading)], axis=1)
        self.spot += way * (self.speed * seconds)[:, None]

    def boxes(self) -> Floats:
        """(N, 4) on the ground."""
        half = self.size[:, None] / 2
        return np.hstack([self.spot - half, self.spot + half])

    def paint(self, pixels: NDArray[np.uint8], homography: Floats) -> None:
        """Draw them into a frame."""
        along = np.stack([np.cos(self.heading), np.sin(self.heading)], axis=1) * self.size[:, None] / 2
        across = along[:, ::-1] * [-0.5, 0.5]
        for spot, a, b, colour in zip(self.spot, along, across, self.colour.tolist(), strict=True):
            outline = np.array([spot + a + b, spot + a - b, spot - a - b, spot - a + b])
            seen = cv2.perspectiveTransform(outline[None], homography)[0]
            cv2.fillConvexPoly(pixels, seen.round().astype(np.int32), colour)


def fly(scene: Scene, ground: Ground, seed: int) -> Iterator[Shot]:
    """The frames of a flight with their truth; the same seed flies the same."""
    dice = np.random.default_rng(seed)
    size = np.array(ground.pixels.shape[1::-1], np.float64)
    movers = Movers.scatter(scene.movers, ground, dice)
    total = len(ground.boxes) + scene.movers
    hidden_until = np.zeros(total)
    for number in range(round(scene.seconds * scene.fps)):
        time_s = number / scene.fps
        homography = scene.path(time_s, size, dice).homography()
        pixels = np.asarray(cv2.warpPerspective(ground.pixels, homography, (WIDTH, HEIGHT)), np.uint8)
        movers.paint(pixels, homography)
        boxes, share = seen_boxes(np.vstack([ground.boxes, movers.boxes()]), homography)
        if scene.hidden_s:
            starts = dice.random(total) < 0.25 / scene.fps
            hidden_until = np.where(starts, time_s + dice.exponential(scene.hidden_s, total), hidden_until)
        ids = np.flatnonzero(share > 0.5)
        yield Shot(time_s, pixels, homography, boxes[ids], ids, hidden_until[ids] > time_s)
        movers.drive(1 / scene.fps)


def seen_boxes(ground: Floats, homography: Floats) -> tuple[Floats, Floats]:
    """Boxes of the ground as boxes of the frame, clipped to it, and the share of each that is in it.

    A box keeps its form: what stands in it is round from above, so only its place and scale change.
    """
    middle = (ground[:, :2] + ground[:, 2:]) / 2
    size = ground[:, 2:] - ground[:, :2]
    ends = np.stack([middle, middle + np.array([1.0, 0.0]), middle + np.array([0.0, 1.0])], axis=1)
    seen = cv2.perspectiveTransform(ends.reshape(1, -1, 2), homography).reshape(-1, 3, 2)
    grown = np.sqrt(abs(np.linalg.det(seen[:, 1:] - seen[:, :1])))[:, None]
    low, high = seen[:, 0] - size * grown / 2, seen[:, 0] + size * grown / 2
    inner_low, inner_high = np.maximum(low, 0), np.minimum(high, [WIDTH, HEIGHT])
    share = np.maximum(inner_high - inner_low, 0).prod(axis=1) / np.maximum(high - low, 1e-6).prod(axis=1)
    return np.hstack([inner_low, inner_high]), share
