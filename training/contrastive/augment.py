"""RemoteCLIP's augmentations (section III): random crop, horizontal flip, four rotations."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from training.contrastive.recipe import Augmentation

_LARGEST_STRETCH = math.log(4 / 3)  # of a crop's sides, as torchvision's RandomResizedCrop has it


def augmented(
    image: NDArray[np.uint8], size: int, how: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A random crop of the image (H, W, 3), resized, mirrored and turned: (size, size, 3).

    Draws the same count of random numbers whatever the options, so that one option changes only itself.
    """
    share, stretch = rng.uniform(*how.crop), rng.uniform(-_LARGEST_STRETCH, _LARGEST_STRETCH)
    place, mirror, turns = rng.random(2), rng.random() < 0.5, int(rng.integers(4))
    height, width = image.shape[:2]
    area = share * height * width
    # A crop that would not fit becomes as wide or as high as the image.
    wide = min(width, max(1, round(math.sqrt(area * math.exp(stretch)))))
    high = min(height, max(1, round(area / wide)))
    wide = min(width, max(wide, round(area / high)))
    x, y = round(place[0] * (width - wide)), round(place[1] * (height - high))
    out = resized(image[y : y + high, x : x + wide], size, size)
    if how.flip and mirror:
        out = out[:, ::-1]
    if how.quarter_turns:
        out = np.rot90(out, turns)
    return np.ascontiguousarray(out)


def centred(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """CLIP's view of an image for evaluation: shorter side resized, central square; (size, size, 3)."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    out = resized(image, max(size, round(width * scale)), max(size, round(height * scale)))
    y, x = (out.shape[0] - size) // 2, (out.shape[1] - size) // 2
    return np.ascontiguousarray(out[y : y + size, x : x + size])


def resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The image at another size: averaged where it shrinks, bicubic where it grows."""
    shrinks = width * height < image.shape[0] * image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=way).astype(np.uint8, copy=False)
