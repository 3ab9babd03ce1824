"""A canvas for drawn aerial pictures: ground textures, turned shapes, shadows. Everything from one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]  # RGB, 0 to 255
Point = tuple[float, float]

FINER = 3
"""Drawn so many times finer than the picture, and averaged: edges look photographed, not drawn."""
_SUBPIXEL = 4  # binary digits behind the point in what cv2 is handed


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that was drawn: its class, and its upright box x1, y1, x2, y2 in pixels of the picture."""

    name: str
    box: tuple[float, float, float, float]


@dataclass(slots=True)
class Canvas:
    """A picture in the making; all lengths are pixels of the finished picture, x to the right, y down."""

    width: int
    height: int
    rng: np.random.Generator
    things: list[Thing] = field(default_factory=list)
    _pixels: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self._pixels = np.zeros((self.height * FINER, self.width * FINER, 3), np.float32)

    def ground(
        self, colours: Sequence[Colour], grain: float = 7.0, mask: NDArray[np.bool_] | None = None
    ) -> None:
        """Fill, or fill where the mask (of `blob`) is set, with patches of these colours and fine grain."""
        shape = self.height * FINER, self.width * FINER
        patches = np.zeros(shape, np.float32)
        for size in (1.0, 0.5, 0.25):
            patches += size / 1.75 * _noise(self.rng, shape, size)
        place = np.clip((patches * 0.28 + 0.5) * (len(colours) - 1), 0, len(colours) - 1.001)
        low = place.astype(np.int64)
        palette = np.array([*colours, colours[-1]], np.float32)
        share = (place - low)[..., None].astype(np.float32)
        filled = palette[low] * (1 - share) + palette[low + 1] * share
        filled += (grain * _noise(self.rng, shape, 0.02))[..., None]
        if mask is None:
            self._pixels = np.asarray(filled, np.float32)
        else:
            soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), FINER * 0.8)[..., None]
            self._pixels = self._pixels * (1 - soft) + filled * soft

    def blob(self, points: Sequence[Point], ragged: float = 0.0) -> NDArray[np.bool_]:
        """The inside of a polygon whose edge wanders by about `ragged` pixels."""
        shape = self.height * FINER, self.width * FINER
        mask: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        cv2.fillPoly(mask, [_fixed(points)], 255, cv2.LINE_8, _SUBPIXEL)
        if ragged:
            rows, columns = np.indices(shape, dtype=np.float32)
            by = [_noise(self.rng, shape, 0.3) * ragged * FINER for _ in range(2)]
            mask = np.asarray(cv2.remap(mask, columns + by[0], rows + by[1], cv2.INTER_NEAREST), np.uint8)
        return np.asarray(mask > 0)

    def strip(self, top: float, bottom: float) -> NDArray[np.bool_]:
        """The mask of what lies between two heights."""
        right = float(self.width)
        return self.blob([(0.0, top), (right, top), (right, bottom), (0.0, bottom)])

    def shape(self, points: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """A filled polygon."""
        mask = np.zeros(self._pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(points)], 255, cv2.LINE_AA, _SUBPIXEL)
        self._blend(mask, colour, opacity)

    def line(
        self,
        points: Sequence[Point],
        colour: Colour,
        thickness: float,
        opacity: float = 1.0,
        closed: bool = False,
    ) -> None:
        """An open or closed line."""
        mask = np.zeros(self._pixels.shape[:2], np.uint8)
        wide = max(1, round(thickness * FINER))
        cv2.polylines(mask, [_fixed(points)], closed, 255, wide, cv2.LINE_AA, _SUBPIXEL)
        self._blend(mask, colour, opacity)

    def shadow(self, points: Sequence[Point], length: float) -> None:
        """What a shape of that height casts to the lower right."""
        moved = [(x + length, y + 0.7 * length) for x, y in points]
        hull = cv2.convexHull(np.array([*points, *moved], np.float32))[:, 0]
        mask = np.zeros(self._pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed([(float(x), float(y)) for x, y in hull])], 255, cv2.LINE_AA, _SUBPIXEL)
        self._blend(mask, (22, 26, 34), 0.55)

    def add(self, name: str, points: Sequence[Point]) -> None:
        """Note an object that fills these points' box; cut to the picture, as annotators do."""
        across, down = [x for x, _ in points], [y for _, y in points]
        x1, y1 = max(0.0, min(across)), max(0.0, min(down))
        x2, y2 = min(float(self.width), max(across)), min(float(self.height), max(down))
        self.things.append(Thing(name, (x1, y1, x2, y2)))

    def picture(self) -> NDArray[np.uint8]:
        """The finished picture, (height, width, 3) uint8 RGB."""
        small = cv2.resize(self._pixels, (self.width, self.height), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 0.55)
        grainy = small + self.rng.normal(0, 1.5, (self.height, self.width, 3))
        return np.asarray(np.clip(grainy, 0, 255), np.uint8)

    def _blend(self, mask: NDArray[np.uint8], colour: Colour, opacity: float) -> None:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows):
            window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            share = (mask[window].astype(np.float32) * (opacity / 255))[..., None]
            self._pixels[window] = self._pixels[window] * (1 - share) + np.array(colour, np.float32) * share


def turned(points: Sequence[Point], centre: Point, angle: float, scale: float = 1.0) -> list[Point]:
    """Points about the origin, made `scale` times as large, turned by `angle` degrees, moved to a centre."""
    c, s = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
    return [(float(centre[0] + c * x - s * y), float(centre[1] + s * x + c * y)) for x, y in points]


def rectangle(width: float, height: float) -> list[Point]:
    """Corners of an upright rectangle about the origin."""
    x, y = width / 2, height / 2
    return [(-x, -y), (x, -y), (x, y), (-x, y)]


def ellipse(width: float, height: float, first: float = 0.0, last: float = 360.0) -> list[Point]:
    """Points on an ellipse about the origin, from the first to the last angle in degrees."""
    angles = np.radians(np.linspace(first, last, 33))
    return [(float(width / 2 * np.cos(a)), float(height / 2 * np.sin(a))) for a in angles]


def _fixed(points: Sequence[Point]) -> NDArray[np.int32]:
    """Points of the picture in the canvas's own finer pixels, as cv2 takes fractions."""
    # A pixel's middle lies at a whole number there, and half a pixel in from its corner here.
    array = np.array(points, np.float64) * FINER - 0.5
    return np.asarray(np.round(array * 2**_SUBPIXEL), np.int32)


def _noise(rng: np.random.Generator, shape: tuple[int, int], coarseness: float) -> NDArray[np.float32]:
    """Smooth noise of unit deviation; coarseness is the size of its patches as a share of the longer side."""
    step = max(1.0, coarseness * max(shape) / 4)
    small = (max(4, round(shape[0] / step)), max(4, round(shape[1] / step)))
    coarse = rng.normal(size=small).astype(np.float32)
    noise = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray((noise - noise.mean()) / max(float(noise.std()), 1e-6), np.float32)
