"""A run as what stands in it: every thing that it followed, with all sightings, ready to be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.runs.format import RunError
from edge.runs.reader import Run, RunFrame, RunPrompt

Floats: TypeAlias = NDArray[np.float64]

_MOST_PICTURES = 256
"""Decoded and in memory; each takes 0.2 MiB."""
FEWEST_SIGHTINGS = 5
"""Frames; what was found less often is no thing that could be missed."""


@dataclass(slots=True, eq=False)
class Thing:
    """One thing of a run.

    Attributes:
        prompt: id of its prompt.
        tracks: ids; several where the tracker lost and found it, or the flight came by again.
        frames: (S,) indices of the frames that show it, ascending.
        boxes: (S, 4) float64 there, pixels.
        scores: (S,) float64.
        degrees: (3,) latitude, longitude and h_acc_m, medians over the sightings; None without telemetry.
    """

    prompt: str
    tracks: tuple[int, ...]
    frames: NDArray[np.int64]
    boxes: Floats
    scores: Floats
    degrees: Floats | None

    @property
    def best(self) -> int:
        """Index of its best sighting."""
        return int(self.scores.argmax())

    @property
    def centres(self) -> Floats:
        """(S, 2) pixels."""
        middles: Floats = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        return middles

    @property
    def sides(self) -> Floats:
        """(S,) longer side of each box, pixels."""
        sides: Floats = (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1)
        return sides


@dataclass(slots=True, eq=False)
class Side:
    """One of the two runs, in memory."""

    run: Run
    frames: list[RunFrame] = field(init=False)
    prompts: dict[str, RunPrompt] = field(init=False)
    """Object prompts of all its lists, by id; of one that changed under way, the last."""
    _pictures: dict[int, NDArray[np.uint8] | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.frames = self.run.frames()
        lists = self.run.lists.values()
        self.prompts = {prompt.id: prompt for each in lists for prompt in each if prompt.kind == "object"}

    def places(self, frame: int, prompt: str) -> Floats:
        """(N, 2) centres in pixels of the places of a prompt in a frame, firm or not."""
        recorded = self.frames[frame]
        ids = [each.id for each in self.run.lists[recorded.list]]
        if prompt not in ids:
            return np.zeros((0, 2))
        boxes = recorded.places["box"][recorded.places["prompt"] == ids.index(prompt)].astype(np.float64)
        middles: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2
        return middles

    def picture(self, frame: int) -> NDArray[np.uint8] | None:
        """The kept picture of a frame, (H, W) uint8 grey; None where there is none."""
        import cv2

        if frame not in self._pictures:
            if len(self._pictures) >= _MOST_PICTURES:
                self._pictures.pop(next(iter(self._pictures)))
            row = self.frames[frame]
            data = self.run.thumbnail(row.row) if row.has_thumbnail else None
            grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
            self._pictures[frame] = None if grey is None else np.asarray(grey, np.uint8)
        return self._pictures[frame]

    def things(self, prompts: set[str]) -> list[Thing]:
        """The things of these prompts, a track each, that were seen at least FEWEST_SIGHTINGS times."""
        rows = [
            (int(place["track"]), index, self.run.lists[frame.list][place["prompt"]].id, place)
            for index, frame in enumerate(self.frames)
            for place in frame.places[frame.places["confirmed"] > 0]
        ]
        by_track: dict[int, list[tuple[int, str, Any]]] = {}
        for track, index, prompt, place in rows:
            if prompt in prompts:
                by_track.setdefault(track, []).append((index, prompt, place))
        return [_thing(track, seen) for track, seen in by_track.items() if len(seen) >= FEWEST_SIGHTINGS]


def common_prompts(a: Side, b: Side) -> tuple[set[str], set[str]]:
    """Ids of the object prompts that both runs looked for in the same words, and of all others.

    Raises RunError: there is none in common.
    """
    both = {name for name in a.prompts if name in b.prompts and a.prompts[name].text == b.prompts[name].text}
    others = (a.prompts.keys() | b.prompts.keys()) - both
    if not both:
        raise RunError(
            f"{a.run.path} and {b.run.path}: looked for nothing in common ({', '.join(sorted(others))});"
            " fly both with one prompt list"
        )
    return both, set(others)


def _thing(track: int, seen: list[tuple[int, str, Any]]) -> Thing:
    degrees = np.array([[p["latitude"], p["longitude"], p["h_acc_m"]] for _, _, p in seen], np.float64)
    known = degrees[np.isfinite(degrees).all(axis=1)]
    return Thing(
        prompt=seen[0][1],
        tracks=(track,),
        frames=np.array([index for index, _, _ in seen], np.int64),
        boxes=np.array([place["box"] for _, _, place in seen], np.float64),
        scores=np.array([place["score"] for _, _, place in seen], np.float64),
        degrees=np.median(known, axis=0) if len(known) else None,
    )
