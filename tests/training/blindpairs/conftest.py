"""A model and an encoder whose opinions of an image the tests decide, by what they draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.pools import read_rgb


def unit(*values: float) -> np.ndarray:
    row = np.array(values, np.float32)
    return row / np.linalg.norm(row)


@dataclass
class DrawnModel:
    """Sees the mean red of an image's left half and of its right half, and no more.

    A sentence with "left" or "right" is about the half that it names, any other about both. Has of Subject
    what the evaluation uses.
    """

    name: str = "drawn"
    kind: str = "bundle"
    sha256: str = "0" * 64
    looked: list[str] = field(default_factory=list)

    def image_embeddings(self, paths: Sequence[Path], description: str = "") -> np.ndarray:
        self.looked += [path.name for path in paths]
        rows = []
        for path in paths:
            red = read_rgb(path)[..., 0].astype(np.float64)
            half = red.shape[1] // 2
            rows.append(unit(red[:, :half].mean() + 1, red[:, half:].mean() + 1))
        return np.stack(rows)

    def text_embeddings(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        sides = {"left": unit(1, 0), "right": unit(0, 1)}
        return np.stack([next((row for side, row in sides.items() if side in t), unit(1, 1)) for t in texts])


@dataclass
class DrawnEncoder:
    """Sees the mean green and blue of an image."""

    name: str = "colours"
    width: int = 2
    looked: int = 0

    def encode(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.looked += len(images)
        return np.stack([unit(*(image[..., 1:].mean(axis=(0, 1)) + 1)) for image in images])


@pytest.fixture
def model() -> DrawnModel:
    return DrawnModel()


@pytest.fixture
def encoder() -> DrawnEncoder:
    return DrawnEncoder()


@pytest.fixture
def draw() -> Callable[..., Path]:
    """draw(path, left=red, right=red, green=..., blue=...): an image of 64 x 48 with a little noise."""

    def make(path: Path, left: int = 100, right: int = 100, green: int = 10, blue: int = 10) -> Path:
        image = np.zeros((48, 64, 3), np.uint8)
        image[..., 1], image[..., 0] = green, blue
        image[:, :32, 2], image[:, 32:, 2] = left, right
        image[::2, ::2] += 5
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
        return path

    return make
