"""A video over and over, as one long flight."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from edge.frames import Frame
from edge.sources import FrameSource, open_source

LAND = "REMOTECLIP_SOAK_LAND"
"""Environment variable: a file whose appearance ends the flight."""
GAP_S = 0.1
"""Of capture time, between the last frame of the video and its first."""


class LoopSource(FrameSource, schemes=("loop",)):
    """`loop:///path/of/video.mp4`: over and over, numbers and time going on, until a file `LAND` appears."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"loop of {path.name}")
        self._path = path

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> LoopSource:
        """Takes whatever `open_source` takes as a path."""
        return cls(Path(urlsplit(uri).path))

    def __iter__(self) -> Iterator[Frame]:
        number, began_s = 0, 0.0
        land = Path(os.environ[LAND])
        while not land.exists():
            time_s = began_s
            with open_source(self._path) as source:
                for frame in source:
                    time_s = began_s + frame.time_s
                    yield replace(frame, number=number, time_s=time_s)
                    number += 1
                    if land.exists():
                        return
            began_s = time_s + GAP_S
