"""Random crops of an image with its objects; the geometry is one affine map, so boxes follow exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.samples import ObjectSample

LARGEST_STRETCH = 0.25  # logarithm of the longest to the mean axis
FILL = (114, 114, 114)  # the letterbox colour of the drone's own preprocessing


@dataclass(frozen=True, slots=True)
class Crop:
    """A training crop.

    image: (S, S, 3) uint8 RGB; centres, sizes (K, 2) float32 in crop pixels, labels (K,) int64: the objects
    whose centre lies inside; ignored: (J, 4) float32 x1, y1, x2, y2; mask: (S, S, 3) uint8 RGB class colours
    or None.
    """

    image: NDArray[np.uint8]
    centres: NDArray[np.float32]
    sizes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignored: NDArray[np.float32]
    mask: NDArray[np.uint8] | None


def random_affine(
    width: int,
    height: int,
    size: int,
    scale: tuple[float, float],
    focus: NDArray[np.float32],
    rng: np.random.Generator,
    largest_stretch: float = 0.0,
) -> NDArray[np.float64]:
    """A 2 x 3 map from image to crop pixels: zoom, stretch, one of four rotations, mirror, a random place.

    The stretch is the foreshortening of an oblique view. Four crops in five look at one of the focus points
    (K, 2), so that rare objects are seen.
    """
    zoom = math.exp(rng.uniform(math.log(scale[0]), math.log(scale[1])))
    stretch = math.exp(rng.uniform(-largest_stretch, largest_stretch))
    linear = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), int(rng.integers(4)))
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    linear = linear @ np.diag([zoom * stretch, zoom / stretch])
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64) @ linear.T
    low, high = corners.min(0), corners.max(0)
    free = np.maximum(high - low - size, 0.0)
    if len(focus) and rng.random() < 0.8:
        target = focus[rng.integers(len(focus))] @ linear.T - low
        start = np.clip(target - rng.uniform(0.15, 0.85, 2) * size, 0.0, free)
    else:
        start = rng.random(2) * free
    slack = np.maximum(size - (high - low), 0.0)
    offset = -low - start + rng.random(2) * slack
    return np.hstack([linear, offset[:, None]])


def crop_objects(
    image: NDArray[np.uint8],
    sample: ObjectSample,
    mask: NDArray[np.uint8] | None,
    size: int,
    scale: tuple[float, float],
    rng: np.random.Generator,
    focus: int | None = None,
) -> Crop:
    """A random crop of the image and of everything annotated in it; `focus` is the class to look at."""
    points = sample.centres if focus is None else sample.centres[sample.labels == focus]
    affine = random_affine(image.shape[1], image.shape[0], size, scale, points, rng, LARGEST_STRETCH)
    zoom = math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))
    pixels = warp(image, affine, size, cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    colours = None if mask is None else warp(mask, affine, size, cv2.INTER_NEAREST, (0, 0, 0))
    centres = (sample.centres @ affine[:, :2].T + affine[:, 2]).astype(np.float32)
    sizes = (sample.sizes @ np.abs(affine[:, :2]).T).astype(np.float32)
    inside = np.all((centres >= 0) & (centres < size), axis=1)
    corners = sample.ignored.reshape(-1, 2, 2) @ affine[:, :2].T + affine[:, 2]
    ignored = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
    return Crop(jitter(pixels, rng), centres[inside], sizes[inside], sample.labels[inside], ignored, colours)


def crop_scene(
    image: NDArray[np.uint8], size: int, rng: np.random.Generator, whole: bool = False
) -> NDArray[np.uint8]:
    """A square of the image, turned, mirrored and jittered; (S, S, 3).

    It is a random one of 60% or more of the largest square, or with `whole` the letterboxed image, so that
    what a caption counts stays in the frame. One square in four loses its detail, as if seen by a coarser
    sensor.
    """
    side = max(image.shape[:2]) if whole else min(image.shape[:2]) * math.sqrt(rng.uniform(0.6, 1.0))
    zoom = size / side
    affine = random_affine(
        image.shape[1], image.shape[0], size, (zoom, zoom), np.empty((0, 2), np.float32), rng
    )
    square = warp(image, affine, size, cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        square = coarsen(square, rng.uniform(1.5, 5.0))
    return jitter(square, rng)


def coarsen(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """The image shrunk by a factor and enlarged again."""
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def warp(
    image: NDArray[np.uint8],
    affine: NDArray[np.float64],
    size: int,
    interpolation: int,
    fill: tuple[int, int, int] = FILL,
) -> NDArray[np.uint8]:
    """Apply a 2 x 3 image-to-crop map. Shrinking first resizes by area, since warping alone would alias."""
    zoom = math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))
    if interpolation == cv2.INTER_AREA:
        height, width = image.shape[:2]
        small = (max(1, round(width * zoom)), max(1, round(height * zoom)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        # Whole pixels: what was really shrunk by, which differs between the axes.
        affine = np.hstack([affine[:, :2] * np.array([width / small[0], height / small[1]]), affine[:, 2:]])
        interpolation = cv2.INTER_LINEAR
    # OpenCV maps pixel centres, the affine map pixel corners.
    shifted = affine.copy()
    shifted[:, 2] += affine[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return cv2.warpAffine(image, shifted, (size, size), flags=interpolation, borderValue=fill)  # type: ignore[return-value]


def jitter(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast, colour balance; one image in eight loses its colour, one in ten is blurred."""
    gain = rng.uniform(0.75, 1.3) * rng.uniform(0.92, 1.08, 3)
    shift = rng.uniform(-22, 22)
    table = np.clip(np.arange(256)[:, None] * gain + shift, 0, 255).astype(np.uint8)
    out = cv2.LUT(image, table.reshape(1, 256, 3))
    if rng.random() < 0.125:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.1:
        out = cv2.GaussianBlur(out, (3, 3), 0)
    return out.astype(np.uint8, copy=False)
