"""What every reader produces: one frozen sample an image, in pixels of that image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where the drone was and how it looked, as its set recorded it with the image.

    latitude, longitude: degrees; altitude: metres above the take-off point; velocity: x, y, z in m/s;
    roll, pitch, yaw: radians; time: when the image was taken, in the clock of the recording (no time zone).
    """

    latitude: float
    longitude: float
    altitude: float
    velocity: tuple[float, float, float]
    roll: float
    pitch: float
    yaw: float
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ObjectSample:
    """An image with the objects that its set annotates.

    centres: (K, 2) float32 x, y pixels; sizes: (K, 2) float32 width, height pixels, 0 where the set gives
    points only; labels: (K,) int64 index into the set's vocabulary; ignored: (J, 4) float32 x1, y1, x2, y2
    regions whose content the annotators left open; mask: mask file (colours or indices) of a set of masks,
    for classes that are areas rather than objects. Where the set has them: corners (K, 4, 2) float32 of
    oriented boxes, in the annotated order (centres and sizes are of the enclosing upright box, cut to the
    frame); difficult: (K,) bool, objects that the annotators flagged as hard to recognise; telemetry.
    """

    path: Path
    centres: NDArray[np.float32]
    sizes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignored: NDArray[np.float32]
    mask: Path | None = None
    corners: NDArray[np.float32] | None = None
    difficult: NDArray[np.bool_] | None = None
    telemetry: Telemetry | None = None

    def counts(self, classes: int) -> NDArray[np.int64]:
        """Number of objects of every class, (classes,)."""
        return np.bincount(self.labels, minlength=classes).astype(np.int64)

    def boxes(self) -> NDArray[np.float32]:
        """The objects' boxes, (K, 4) float32 x1, y1, x2, y2 pixels; of zero size where they are points."""
        return np.concatenate([self.centres - self.sizes / 2, self.centres + self.sizes / 2], axis=1)


@dataclass(frozen=True, slots=True)
class CaptionSample:
    """An image with its sentences and, where the set has one, its scene label."""

    path: Path
    captions: tuple[str, ...]
    label: str = ""


def object_sample(
    path: Path,
    boxes: list[tuple[float, float, float, float]],
    labels: list[int],
    ignored: list[tuple[float, float, float, float]] | None = None,
    mask: Path | None = None,
    corners: list[NDArray[np.float32]] | None = None,
    difficult: list[bool] | None = None,
    telemetry: Telemetry | None = None,
) -> ObjectSample:
    """A sample from boxes x1, y1, x2, y2 in pixels; a box of zero size stands for a point."""
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    return ObjectSample(
        path,
        np.asarray((array[:, :2] + array[:, 2:]) / 2, np.float32),
        array[:, 2:] - array[:, :2],
        np.asarray(labels, np.int64),
        np.asarray(ignored or [], np.float32).reshape(-1, 4),
        mask,
        None if corners is None else np.asarray(corners, np.float32).reshape(-1, 4, 2),
        None if difficult is None else np.asarray(difficult, np.bool_),
        telemetry,
    )
