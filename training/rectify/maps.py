"""Maps before and after as pictures: what a person looks at before the model flies."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.files import write_atomically

_GAP = 6


def draw_maps(path: Path, image: NDArray[np.uint8], maps: list[F32], names: list[str]) -> None:
    """Write a PNG: the image, the winners of each of `maps` (P, h, w), and a legend of `names`."""
    height, width = image.shape[:2]
    colours = _colours(len(names))
    panels = [image]
    for logits in maps:
        winner = logits.argmax(axis=0).astype(np.uint8)
        panels.append(colours[cv2.resize(winner, (width, height), interpolation=cv2.INTER_NEAREST)])
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    rows = [part for panel in panels for part in (panel, gap)][:-1]
    picture = np.ascontiguousarray(np.concatenate(rows, axis=1))
    legend = np.full((18 * len(names) + 8, picture.shape[1], 3), 255, np.uint8)
    for number, (name, colour) in enumerate(zip(names, colours.tolist(), strict=True)):
        top = 4 + 18 * number
        cv2.rectangle(legend, (4, top), (18, top + 14), colour, -1)
        cv2.putText(legend, name, (26, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    whole = cv2.cvtColor(np.concatenate((picture, legend)), cv2.COLOR_RGB2BGR)
    write_atomically(path, cv2.imencode(".png", whole)[1].tobytes())


def _colours(count: int) -> NDArray[np.uint8]:
    hue = (np.arange(count) * 180 / max(count, 1)).astype(np.uint8)
    bright = np.where(np.arange(count) % 2, 255, 170).astype(np.uint8)
    hsv = np.stack((hue, np.full(count, 220, np.uint8), bright), axis=1)
    return np.asarray(cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0], np.uint8)
