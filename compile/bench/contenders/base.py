"""What every contender answers to, and the frames that it is fed with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.frames import Frame
from edge.sources import open_source

Samples = dict[str, list[float]]
"""Seconds by what was timed: always `frame`; `cpu` is the processor time of all threads for one frame."""

LEAD = 1
"""Untimed frames of a burst: the caches hold the contender's before."""


class Contender(Protocol):
    """Made ready by its constructor, which also delivers a first result."""

    def burst(self, task: str, frames: int) -> Samples:
        """Work through so many timed frames. ValueError on a task that it does not have."""
        ...

    def close(self) -> None:
        """Stop whatever runs."""
        ...


def frames_of(clip: str) -> Iterator[Frame]:
    """The frames of a clip over and over."""
    while True:
        with open_source(str(Path(clip)), sequence=False) as source:
            yield from source


def pictures_of(clip: str) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames as (height, width, 3) uint8 RGB."""
    return (frame.image.rgb() for frame in frames_of(clip))


def timed_burst(
    pictures: Iterator[npt.NDArray[np.uint8]],
    step: Callable[[npt.NDArray[np.uint8]], object],
    frames: int,
) -> Samples:
    """Time `step` on the next frames. Decoding them is not timed."""
    samples: Samples = {"frame": [], "cpu": []}
    for number in range(LEAD + frames):
        picture = next(pictures)
        used, began = time.process_time(), time.perf_counter()
        step(picture)
        seconds, processor = time.perf_counter() - began, time.process_time() - used
        if number >= LEAD:
            samples["frame"].append(seconds)
            samples["cpu"].append(processor)
    return samples
