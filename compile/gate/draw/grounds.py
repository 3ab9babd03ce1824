"""Grounds and placing that several pictures share."""

from __future__ import annotations

import numpy as np

from compile.gate.draw.paint import Canvas, Colour

Sentences = tuple[str, str]
"""What two people might say of a picture. Pictures of one kind share theirs: which of them a sentence of its
own fits best would be luck, and any two models would differ in it."""

GRASS: tuple[Colour, ...] = ((92, 112, 62), (112, 130, 76), (132, 138, 92))
ASPHALT: tuple[Colour, ...] = ((88, 88, 92), (98, 98, 100), (106, 106, 108))
CONCRETE: tuple[Colour, ...] = ((158, 156, 150), (172, 170, 164), (182, 180, 176))
SEA: tuple[Colour, ...] = ((24, 58, 78), (30, 68, 88), (38, 80, 98))
SAND: tuple[Colour, ...] = ((194, 176, 140), (206, 190, 154), (180, 160, 124))
SOIL: tuple[Colour, ...] = ((134, 112, 86), (150, 126, 98), (120, 100, 78))


def apart(canvas: Canvas, count: int, distance: float) -> list[tuple[float, float]]:
    """Up to `count` random centres at least that far from each other and half as far from the edges."""
    found: list[tuple[float, float]] = []
    margin = distance / 2
    for _ in range(60 * count):
        x = float(canvas.rng.uniform(margin, canvas.width - margin))
        y = float(canvas.rng.uniform(margin, canvas.height - margin))
        if len(found) < count and all(np.hypot(x - u, y - v) >= distance for u, v in found):
            found.append((x, y))
    return found
