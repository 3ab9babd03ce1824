"""The drawn pictures of the shipped probe set: which, how large, from which seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compile.gate.draw.built import apron, baseball, basketball, houses, parking, road, tanks, tennis
from compile.gate.draw.grounds import Sentences
from compile.gate.draw.open_ground import beach, desert, fields, park, pond, river, ships, thermal
from compile.gate.draw.paint import Canvas

SQUARE = (256, 256)
WIDE = (400, 240)


@dataclass(frozen=True, slots=True)
class Scene:
    """One drawn picture: its file name without suffix, (width, height), seed, and what draws it."""

    name: str
    size: tuple[int, int]
    seed: int
    draw: Callable[[Canvas], Sentences]

    def painted(self) -> tuple[Canvas, Sentences]:
        """The canvas with the picture on it, and the sentences about it."""
        canvas = Canvas(*self.size, np.random.default_rng(self.seed))
        return canvas, self.draw(canvas)


_DRAWN: dict[Callable[[Canvas], Sentences], str] = {
    **dict.fromkeys((parking, road, apron, ships, tanks, tennis, baseball, houses, thermal), "ssw"),
    **dict.fromkeys((basketball, park), "ss"),
    **dict.fromkeys((beach, fields, desert, river, pond), "s"),
}
"""What is drawn how often, (s)quare or (w)ide."""

SCENES = tuple(
    Scene(f"{draw.__name__}_{number}", WIDE if kind == "w" else SQUARE, 100 * place + number, draw)
    for place, (draw, kinds) in enumerate(_DRAWN.items())
    for number, kind in enumerate(kinds)
)
