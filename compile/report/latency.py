"""How fast the variants of a bundle are here, side by side in one run."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.bundle.load import Bundle
from edge.bundle.manifest import Precision
from edge.engines import create_image_engine
from training.progress import track

WARM_UP = 3
ROUNDS = 40
PROMPTS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Timing:
    """One variant's image graph on one tile.

    engine: what ran it; image_size: (width, height) of the tile; prompts: rows looked up; seconds: (n,) wall
    time of every call after the warm-up.
    """

    engine: str
    image_size: tuple[int, int]
    prompts: int
    seconds: NDArray[np.float64]

    def milliseconds(self, percentile: float) -> float:
        """The call that so many percent of all are faster than."""
        return float(np.percentile(self.seconds, percentile)) * 1e3

    @property
    def images_per_second(self) -> float:
        """One at a time, by the median call."""
        return 1e3 / self.milliseconds(50)

    @property
    def task(self) -> str:
        """What was timed, in words."""
        width, height = self.image_size
        return f"one {width} x {height} tile, {self.prompts} prompts, {self.engine}"


def time_variants(
    bundle: Bundle, engine: str = "openvino", *, threads: int | None = None, rounds: int = ROUNDS
) -> dict[Precision, Timing]:
    """Time the image graph of every variant at the bundle's first size.

    The variants take turns inside each round, so that whatever else the machine does hits all of them alike.
    Raises EngineError, MissingExtra where one cannot run.
    """
    manifest = bundle.manifest
    width, height = size = manifest.image_sizes[0]
    random = np.random.default_rng(0)
    tile = random.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    rows = np.zeros((PROMPTS, manifest.row_width), np.float32)
    directions = random.standard_normal((PROMPTS, manifest.embedding_width)).astype(np.float32)
    rows[:, : manifest.embedding_width] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    bias = np.zeros(PROMPTS, np.float32)
    with ExitStack() as stack:
        engines = {
            precision: stack.enter_context(
                closing(create_image_engine(bundle, engine, precision, size, threads))
            )
            for precision in manifest.variants
        }
        seconds: dict[Precision, list[float]] = {precision: [] for precision in engines}
        for number in track(range(WARM_UP + rounds), f"timing {', '.join(engines)}"):
            for precision, contender in engines.items():
                began = time.perf_counter()
                contender.infer(tile, rows, bias)
                took = time.perf_counter() - began
                if number >= WARM_UP:
                    seconds[precision].append(took)
    return {name: Timing(engine, size, PROMPTS, np.array(values)) for name, values in seconds.items()}
