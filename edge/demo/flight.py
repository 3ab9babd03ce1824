"""A lawn-mower path over an orthophoto: what the virtual camera sees, and the truth that it flies over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from edge.demo.orthophoto import Orthophoto
from edge.geo.camera import CameraModel
from edge.geo.earth import LocalPlane
from edge.geo.pose import Pose, PoseAccuracy
from firmware_cfg.errors import SourceError

HFOV_DEG = 73.7
"""Of the virtual camera: 24 mm in 35 mm terms, as on most small drones; its height follows."""
ACCURACY = PoseAccuracy(horizontal_m=1.5, height_m=2.0, heading_deg=3.0, tilt_deg=1.0)
"""What is said of the virtual flight's poses: that of a common drone. In truth they are exact."""

OPTIONS: dict[str, Callable[[str], float]] = {
    "gsd": float,
    "speed": float,
    "fps": float,
    "width": int,
    "height": int,
}
"""The options of a `demo://?...` source, and how each is read."""


@dataclass(frozen=True, slots=True)
class FlightPlan:
    """A nadir camera that flies north-south lanes, its wide side across the track.

    Lanes lie side by side without overlap, so that no object is flown over twice: a unique count can then be
    held against the true number of objects. A strip at the edge narrower than a lane is left out.
    """

    metres_per_pixel: float = 0.08
    """Ground sample distance of the frames."""
    width: int = 1280
    height: int = 720
    speed: float = 8.0
    """Ground speed in metres per second."""
    fps: float = 10.0

    @classmethod
    def parse(cls, query: str) -> FlightPlan:
        """A plan from `gsd=0.1&speed=8&fps=10&width=1280&height=720`, each optional. Raises SourceError."""
        values: dict[str, float] = {}
        for key, text in parse_qsl(query, keep_blank_values=True):
            if key not in OPTIONS:
                raise SourceError(f"demo: unknown option {key!r} (one of {', '.join(OPTIONS)})")
            try:
                number = OPTIONS[key](text)
            except ValueError:
                raise SourceError(f"demo: {key} must be a number, got {text!r}") from None
            if not (math.isfinite(number) and number > 0):
                raise SourceError(f"demo: {key} must be above zero, got {text!r}")
            values[key] = number
        standard = cls()
        return cls(
            metres_per_pixel=values.get("gsd", standard.metres_per_pixel),
            width=int(values.get("width", standard.width)),
            height=int(values.get("height", standard.height)),
            speed=values.get("speed", standard.speed),
            fps=values.get("fps", standard.fps),
        )


@dataclass(frozen=True, slots=True)
class View:
    """What one frame sees: its corner in pixels of the resampled ground, `time_s` seconds after take-off."""

    number: int
    time_s: float
    left: int
    top: int


class Flight:
    """A flight plan laid over an orthophoto: its views in order, their pixels, and the objects in them."""

    def __init__(self, photo: Orthophoto, plan: FlightPlan) -> None:
        self.plan = plan
        self.ground = photo.resampled(plan.metres_per_pixel)
        ground_height, ground_width = self.ground.pixels.shape[:2]
        if plan.width > ground_width or plan.height > ground_height:
            raise SourceError(
                f"demo: {plan.width}x{plan.height} at {plan.metres_per_pixel:g} m per pixel does not fit "
                f"over the orthophoto, {ground_width}x{ground_height} there (take a smaller gsd or frame)"
            )
        self._corners = _lanes(ground_width, ground_height, plan)
        self._step = plan.speed / plan.fps / plan.metres_per_pixel
        self._legs = [float(np.hypot(*np.subtract(b, a))) for a, b in pairwise(self._corners)]
        centres = (self.ground.boxes[:, :2] + self.ground.boxes[:, 2:]) / 2
        self._centres: NDArray[np.float64] = centres
        self.camera = CameraModel.from_hfov(HFOV_DEG)
        self._height_m = plan.metres_per_pixel * plan.width * self.camera.focal_x
        self._plane = LocalPlane(*self.ground.south_west)

    @property
    def length(self) -> int:
        """Number of frames of the whole flight."""
        return int(sum(self._legs) / self._step) + 1

    def view(self, number: int) -> View:
        """The view of frame `number`, 0 <= number < length."""
        if not 0 <= number < self.length:
            raise IndexError(f"frame {number} of a flight of {self.length}")
        way = number * self._step
        left, top = self._corners[-1]
        for (start, end), leg in zip(pairwise(self._corners), self._legs, strict=True):
            if way <= leg:
                share = way / leg if leg else 0.0
                left = start[0] + (end[0] - start[0]) * share
                top = start[1] + (end[1] - start[1]) * share
                break
            way -= leg
        return View(number, number / self.plan.fps, round(left), round(top))

    def __iter__(self) -> Iterator[View]:
        return (self.view(number) for number in range(self.length))

    def pixels(self, view: View) -> NDArray[np.uint8]:
        """The frame itself: (height, width, 3) uint8 RGB, contiguous."""
        rows = slice(view.top, view.top + self.plan.height)
        columns = slice(view.left, view.left + self.plan.width)
        return np.ascontiguousarray(self.ground.pixels[rows, columns])

    def pose(self, view: View) -> Pose:
        """Where the virtual camera is: straight above the frame's middle, upper edge to the north."""
        middle = np.array([[view.left + self.plan.width / 2, view.top + self.plan.height / 2]])
        latitude, longitude = (float(degrees[0]) for degrees in self.on_earth(middle))
        return Pose(latitude, longitude, self._height_m, 0.0, -90.0, 0.0, ACCURACY)

    def on_earth(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitude and longitude of (N, 2) pixels of the resampled ground."""
        east_south = places * self.plan.metres_per_pixel
        north = self.ground.pixels.shape[0] * self.plan.metres_per_pixel - east_south[:, 1]
        return self._plane.to_degrees(np.stack([north, east_south[:, 0]], axis=1))

    def visible(self, view: View) -> NDArray[np.bool_]:
        """(N,) whether each true object's centre lies inside the frame."""
        x, y = self._centres[:, 0] - view.left, self._centres[:, 1] - view.top
        inside: NDArray[np.bool_] = (x >= 0) & (x < self.plan.width) & (y >= 0) & (y < self.plan.height)
        return inside


class Truth:
    """The true numbers of a flight so far: objects in the last frame, and objects that any frame has held."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._seen = np.zeros(len(flight.ground.boxes), dtype=bool)
        self.in_frame = 0

    def fly_over(self, number: int) -> None:
        """Take frame `number` in (in any order, gaps allowed: an unseen frame adds nothing)."""
        inside = self._flight.visible(self._flight.view(number))
        self._seen |= inside
        self.in_frame = int(inside.sum())

    @property
    def unique(self) -> int:
        """Objects whose centre was inside at least one frame so far."""
        return int(self._seen.sum())


def _lanes(ground_width: int, ground_height: int, plan: FlightPlan) -> list[tuple[float, float]]:
    """Corners (left, top) of the path, back and forth; the lanes are centred on the orthophoto."""
    lanes = ground_width // plan.width
    margin = (ground_width - lanes * plan.width) / 2
    bottom = float(ground_height - plan.height)
    corners: list[tuple[float, float]] = []
    for lane in range(lanes):
        left = margin + lane * plan.width
        ends = [(left, 0.0), (left, bottom)]
        corners += ends if lane % 2 == 0 else ends[::-1]
    return corners
