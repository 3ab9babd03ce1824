"""What a detector would have found in a frame: places with noise, misses, flicker and false alarms."""

from __future__ import annotations

import numpy as np

from benchmarks.tracking.scenes import HEIGHT, WIDTH, Scene, Shot
from edge.lookup import Place

THRESHOLD = 0.5
"""Of the score: a place below it is faint."""
JITTER, BREATHING = 0.13, 0.08
"""One sigma of a box's centre and log size, as shares of its size: the shipped model's on the demo."""


class Detector:
    """Finds with the scene's luck, which sticks to a thing for some frames as a real model's does."""

    def __init__(self, scene: Scene, things: int, seed: int) -> None:
        self._scene = scene
        self._dice = np.random.default_rng(seed + 10_000)
        self._ease = self._dice.normal(0, 0.5, things)  # how easily each thing is found
        self._mood = self._dice.normal(0, 1, things)
        self._hard = float(np.quantile(self._dice.normal(0, np.hypot(1, 0.5), 20_000), 1 - scene.found))

    def find(self, shot: Shot) -> tuple[tuple[Place, ...], tuple[Place, ...]]:
        """(places, faint places), best first."""
        dice = self._dice
        stays = 0.5 ** (6.0 / self._scene.fps)
        self._mood = stays * self._mood + np.sqrt(1 - stays**2) * dice.normal(0, 1, len(self._mood))
        clear = self._mood[shot.ids] + self._ease[shot.ids] - self._hard
        score = 1 / (1 + np.exp(-1.5 * clear))
        middle, size = (shot.boxes[:, :2] + shot.boxes[:, 2:]) / 2, shot.boxes[:, 2:] - shot.boxes[:, :2]
        middle = middle + dice.normal(0, JITTER, size.shape) * size
        size = np.maximum(size * np.exp(dice.normal(0, BREATHING, size.shape)), 2)
        boxes = np.hstack([middle - size / 2, middle + size / 2])
        kept = ~shot.hidden & (score > 0.12)
        boxes, score = boxes[kept], score[kept]
        false = int(dice.poisson(self._scene.false))
        if false:
            spot = dice.uniform([0, 0], [WIDTH, HEIGHT], (false, 2))
            side = dice.uniform(15, 50, (false, 1))
            boxes = np.vstack([boxes, np.hstack([spot - side / 2, spot + side / 2])])
            score = np.append(score, dice.uniform(0.3, 0.75, false))
        boxes = boxes.clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
        found = [
            Place("thing", value, 0.0, (box[0], box[1], box[2], box[3]))
            for value, box in sorted(zip(score.tolist(), boxes.tolist(), strict=True), reverse=True)
        ]
        strong = sum(place.score >= THRESHOLD for place in found)
        return tuple(found[:strong]), tuple(found[strong:])
