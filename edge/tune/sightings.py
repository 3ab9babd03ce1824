"""Everything that the model saw in a clip, kept so that it can be scored again without the model."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.files import UNREADABLE_NPZ, open_npz

_SCHEMA = 2


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """F frames of a clip, the S scene prompts' cosines in them, and N places.

    Attributes:
        key: what they were made from, see `pass_key`.
        number: (F,) int64 frame numbers in the source, ascending.
        time_s: (F,) float64 capture times.
        names: F names, such as an image's file name.
        scene_raw: (F, S) float32 cosines, in the order of the list's scene prompts.
        frame: (N,) int64, index of each place's frame (not its number), ascending.
        box: (N, 4) float32 x1 y1 x2 y2, pixels of the frame.
        embedding: (N, D + E) float16, the place's own.
        peaks: (N, R) bool, which of the list's R object rows have a peak of their map there: the graph hands
            out no other row's logit (docs/decisions/002).
        lost: places that were too weak to be kept.
        independent: the frames are unrelated images.
        skipped: unreadable frames by cause.
    """

    key: str
    number: NDArray[np.int64]
    time_s: NDArray[np.float64]
    names: tuple[str, ...]
    scene_raw: F32
    frame: NDArray[np.int64]
    box: F32
    embedding: NDArray[np.float16]
    peaks: NDArray[np.bool_]
    lost: int
    independent: bool
    skipped: Mapping[str, int]

    def as_bytes(self) -> bytes:
        """The content of the .npz file that `load_sightings` reads."""
        facts = {
            "schema": _SCHEMA,
            "key": self.key,
            "names": self.names,
            "lost": self.lost,
            "independent": self.independent,
            "skipped": dict(self.skipped),
        }
        buffer = io.BytesIO()
        np.savez(
            buffer,
            facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
            number=self.number,
            time_s=self.time_s,
            scene_raw=self.scene_raw,
            frame=self.frame,
            box=self.box,
            embedding=self.embedding,
            peaks=self.peaks,
        )
        return buffer.getvalue()


def load_sightings(path: Path, key: str) -> Sightings | None:
    """Those of an earlier run; None where there are none, they cannot be read, or are of something else."""
    try:
        with open_npz(path) as archive:
            facts = json.loads(archive["facts"].tobytes())
            if facts["schema"] != _SCHEMA or facts["key"] != key:
                return None
            return Sightings(
                key=key,
                number=archive["number"],
                time_s=archive["time_s"],
                names=tuple(facts["names"]),
                scene_raw=archive["scene_raw"],
                frame=archive["frame"],
                box=archive["box"],
                embedding=archive["embedding"],
                peaks=archive["peaks"],
                lost=facts["lost"],
                independent=facts["independent"],
                skipped=facts["skipped"],
            )
    except UNREADABLE_NPZ:  # a cache: what cannot be used is made again
        return None
