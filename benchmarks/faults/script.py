"""A flight that is known frame by frame: painted cars that come and go in four zones."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from edge.frames import Frame, RgbImage
from edge.sources import FrameSource

FROM = "REMOTECLIP_FAULTS_FROM"
"""Environment variable: the first frame of this life of the daemon."""
LAND = "land"
"""A file of this name beside the script ends the flight once its frames are through; until then it hovers."""

ZONES = "abcd"
SIZE = 256
TAIL = 6
"""Frames without a car at the end: every alert has its own clear."""

PROMPTS = """\
prompts:
  - id: car
    text: a car seen from above
    threshold: 0.3
    alerts:
      - {when: count in a >= 1}
      - {when: count in b >= 1, severity: critical}
      - {when: count in c >= 1, severity: info}
      - {when: count in d >= 1}
background: [bare ground]
zones:
  a: [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]
  b: [[0.5, 0.0], [1.0, 0.0], [1.0, 0.5], [0.5, 0.5]]
  c: [[0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [0.0, 1.0]]
  d: [[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]]
"""
"""A rule a zone. Each looks at one frame only, so that the truth of a frame does not depend on its past."""


@dataclass(frozen=True, slots=True)
class Script:
    """Which zones hold cars in which frame: drawn anew every `hold` frames, nothing in the last ones."""

    seed: int = 5
    frames: int = 200
    hold: int = 4
    fps: float = 20.0

    def zones(self, number: int) -> str:
        """The zones with cars in frame `number`, such as "ad"."""
        if number >= self.frames - TAIL:
            return ""
        drawn = random.Random(self.seed * 1_000_003 + number // self.hold).getrandbits(len(ZONES))
        return "".join(zone for place, zone in enumerate(ZONES) if drawn >> place & 1)

    def save(self, path: Path) -> str:
        """Write it, and return the URI of its source."""
        path.write_text(json.dumps(asdict(self)))
        return f"script://{path}"

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))


class ScriptSource(FrameSource, schemes=("script",)):
    """The frames of a script from `FROM` on, then empty ones until the harness says `LAND`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        self._script = Script.load(path)
        self._land = path.with_name(LAND)
        self._first = int(os.environ.get(FROM, "0"))
        self.fps = self._script.fps

    @classmethod
    def from_uri(cls, uri: str, *, sequence: bool) -> ScriptSource:
        """`script:///path/of/script.json`."""
        return cls(Path(urlsplit(uri).path))

    def __iter__(self) -> Iterator[Frame]:
        pictures: dict[str, RgbImage] = {}
        number = self._first
        while number < self._script.frames or not self._land.exists():
            zones = self._script.zones(number)
            if zones not in pictures:
                pictures[zones] = RgbImage(paint(zones))
            now = datetime.now(timezone.utc)
            yield Frame(
                pictures[zones], number, number / self._script.fps, now, time.monotonic_ns(), self.name
            )
            number += 1


def paint(zones: str) -> np.ndarray:
    """(SIZE, SIZE, 3) RGB: asphalt, three cars in each of `zones`. The shipped model finds all of them."""
    picture = np.full((SIZE, SIZE, 3), 110, np.uint8)
    half = SIZE // 2
    for zone in zones:
        row, column = divmod(ZONES.index(zone), 2)
        quarter = picture[half * row : half * (row + 1), half * column : half * (column + 1)]
        for y, x in ((20, 20), (60, 70), (90, 30)):
            quarter[y : y + 14, x : x + 28] = (200, 30, 30)
            quarter[y + 3 : y + 11, x + 8 : x + 12] = (20, 20, 30)
            quarter[y + 3 : y + 11, x + 19 : x + 23] = (20, 20, 30)
    return picture
