"""A hyperspectral cube as a source: windows of the scene, in visible light, one after another."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.frames import Frame, RgbImage
from edge.sources.base import CaptureClock, FrameSource
from firmware_cfg.device.source import CUBE_SUFFIXES

if TYPE_CHECKING:
    from firmware_cfg.device.cube import CubeSection


@dataclass(frozen=True, slots=True)
class CubeOptions:
    """What a device file's `source.cube` says.

    wavelengths  of the bands, see firmware_cfg.wavelengths; None: as the file says
    variable     of a MATLAB file; None: the only one that can be a cube
    window       side of the windows in pixels; a smaller scene is one window
    overlap      share of a window, 0 to 0.9, that the next one shows again
    fps          windows a second of capture time
    """

    wavelengths: str | None = None
    variable: str | None = None
    window: int = 256
    overlap: float = 0.25
    fps: float = 1.0

    @classmethod
    def from_config(cls, section: CubeSection) -> CubeOptions:
        """The options that a device file asks for."""
        return cls(section.wavelengths, section.variable, section.window, section.overlap, section.fps)


class CubeSource(FrameSource, suffixes=CUBE_SUFFIXES):
    """Frames from a cube: its windows row by row, each from left to right, all stretched as one scene.

    A frame's name ends in its offset in the scene: `flight.hdr@192,0` begins at column 192 of the first row.
    `independent` is true unless `sequence` was asked for. Windows without any data are passed over, their
    numbers stay unused.
    """

    def __init__(self, path: Path, options: CubeOptions, *, sequence: bool) -> None:
        """Reads the scene. Raises SourceError, UsageError, MissingExtra, see `read_cube`."""
        from edge.cubes import read_cube, rgb_image  # a daemon on video never needs them

        super().__init__(path.name)
        cube = read_cube(path, options.wavelengths, options.variable, visible_only=True)
        self._scene, self._valid = rgb_image(cube), cube.valid
        height, width = self._scene.shape[:2]
        self._window = (min(options.window, width), min(options.window, height))
        step = max(1, int(options.window * (1.0 - options.overlap)))
        across = offsets(width, self._window[0], step)
        self._offsets = [(x, y) for y in offsets(height, self._window[1], step) for x in across]
        self.georeference = cube.georeference
        self.fps = options.fps
        self.length = len(self._offsets)
        self.independent = not sequence

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> CubeSource:
        """A cube that says everything itself. Raises as the constructor."""
        return cls(Path(uri), CubeOptions(), sequence=sequence)

    def __iter__(self) -> Iterator[Frame]:
        assert self.fps is not None
        clock = CaptureClock(1.0 / self.fps)
        width, height = self._window
        for number, (x, y) in enumerate(self._offsets):
            part = slice(y, y + height), slice(x, x + width)
            if self._valid is not None and not self._valid[part].any():
                continue
            time_s, captured_at = clock.tick(number / self.fps)
            image = RgbImage(np.ascontiguousarray(self._scene[part]))
            name = f"{self.name}@{x},{y}"
            yield Frame(image, number, time_s, captured_at, time.monotonic_ns(), name)


def offsets(length: int, window: int, step: int) -> list[int]:
    """Where windows begin so that they cover `length` pixels, at most `step` apart and evenly spread."""
    last = length - window
    return [round(at) for at in np.linspace(0, last, 1 + math.ceil(last / step))]
