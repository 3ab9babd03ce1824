"""What the recorder takes of a frame's result: small, and with the picture only where one is wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge.runs.format import PLACE, PlaceRecords, pack_halves

if TYPE_CHECKING:
    from datetime import datetime

    from edge.frames import Image
    from edge.geo.pose import Pose
    from edge.pipeline import FrameResult
    from edge.prompts.bank import PromptBank

_CLEARER = 1.1
"""A track is cut out anew when its score has grown by this factor: not in every frame of an approach."""
_MOST_TRACKS = 4096
"""Whose best score is remembered; one that is forgotten is cut out once more, and the better one stays."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A track that this frame shows clearly better than any before: box in pixels, packed embedding."""

    track: int
    prompt: str
    score: float
    box: tuple[float, float, float, float]
    embedding: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """One frame as it waits for the disk. `image` is None where no picture is wanted."""

    number: int
    name: str
    time_s: float
    captured_at: datetime
    size: tuple[int, int]
    pose: Pose | None
    bank: PromptBank
    embedding: bytes
    counts: dict[str, tuple[int, int, float]]
    places: PlaceRecords
    image: Image | None
    sightings: tuple[Sighting, ...]
    thumbnail: bool


class Taker:
    """Turns results into what is kept of them. Belongs to the frame loop, `forget` to any thread.

    Args:
        thumbnail_every_s: seconds of capture time between two pictures of the whole frame.
    """

    def __init__(self, thumbnail_every_s: float) -> None:
        self._every_s = thumbnail_every_s
        self._next_s = -np.inf
        self._best: dict[int, float] = {}
        self._lock = threading.Lock()

    def take(self, result: FrameResult, *, pictures: bool) -> Taken:
        """What is kept of one frame, which has an embedding; without `pictures` none, until a later frame."""
        frame, embedding = result.frame, result.scores.embedding
        assert embedding is not None
        sightings = self._clearer(result, embedding.size) if pictures else ()
        due = pictures and frame.time_s >= self._next_s
        if due:
            self._next_s = frame.time_s + self._every_s
        return Taken(
            number=frame.number,
            name=frame.name,
            time_s=frame.time_s,
            captured_at=frame.captured_at,
            size=(frame.width, frame.height),
            pose=frame.pose,
            bank=result.bank,
            embedding=pack_halves(embedding),
            counts={
                name: (each.count, each.unique, each.score) for name, each in result.counts.prompts.items()
            },
            places=_records(result),
            image=frame.image if due or sightings else None,
            sightings=sightings,
            thumbnail=due,
        )

    def forget(self, tracks: Iterable[int]) -> None:
        """What was taken of these tracks is not in the run, or not any more: their next sighting counts."""
        with self._lock:
            for track in tracks:
                self._best.pop(track, None)

    def _clearer(self, result: FrameResult, width: int) -> tuple[Sighting, ...]:
        found = []
        for tracked in result.tracks:
            place = tracked.place
            if (
                tracked.confirmed
                and place.embedding is not None
                and self._is_clearer(tracked.track_id, place.score)
            ):
                embedding = pack_halves(place.embedding[:width])
                found.append(Sighting(tracked.track_id, place.prompt, place.score, place.box, embedding))
        return tuple(found)

    def _is_clearer(self, track: int, score: float) -> bool:
        with self._lock:
            clearer = score > _CLEARER * self._best.get(track, 0.0)
            if clearer:
                self._best[track] = score
                if len(self._best) > _MOST_TRACKS:
                    del self._best[next(iter(self._best))]
        return clearer


def _records(result: FrameResult) -> PlaceRecords:
    index = {prompt.id: number for number, prompt in enumerate(result.bank.prompt_list.prompts)}
    records: PlaceRecords = np.zeros(len(result.tracks), PLACE)
    if len(records) == 0:
        return records
    records["prompt"] = [index[each.place.prompt] for each in result.tracks]
    records["confirmed"] = [each.confirmed for each in result.tracks]
    records["track"] = [each.track_id for each in result.tracks]
    records["box"] = [each.place.box for each in result.tracks]
    records["score"] = [each.place.score for each in result.tracks]
    for name in ("latitude", "longitude", "h_acc_m"):
        records[name] = np.nan if result.ground is None else getattr(result.ground, name)
    return records
