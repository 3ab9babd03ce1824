"""What a person says of the crops: right or wrong, by number or by place, from options or a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml
from pydantic import Field

from edge.files import write_atomically
from firmware_cfg.base import ConfigModel
from firmware_cfg.errors import RemoteclipError, UsageError
from firmware_cfg.located_yaml import load_model

if TYPE_CHECKING:
    from edge.tune.crops import Crop
    from edge.tune.scoring import Scored
    from edge.tune.sightings import Sightings

SAME_PLACE = 0.5
"""Intersection over union from which on a place is the one that was marked."""


class PlaceMark(ConfigModel):
    """A mark that does not depend on any numbering."""

    prompt: str = Field(description="Id of the prompt that the crop was shown for.")
    frame: int = Field(ge=0, description="Number of the frame.")
    box: tuple[float, float, float, float] | None = Field(
        None, description="x1, y1, x2, y2 in pixels of the frame; left out for a scene prompt."
    )
    right: bool = Field(description="Whether it truly is what the prompt looks for.")


class MarksFile(ConfigModel):
    """A file of marks. Numbers are those of the page that the command writes."""

    version: Literal[1] = Field(1, description="Version of this format.")
    positive: tuple[int, ...] = Field((), description="Numbers of crops that are right.")
    negative: tuple[int, ...] = Field((), description="Numbers of crops that are wrong.")
    places: tuple[PlaceMark, ...] = Field((), description="Marks by frame and box.")


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark: the prompt, the index of the place (or frame, of a scene prompt), and whether it is right."""

    prompt: str
    index: int
    right: bool


def parse_numbers(text: str, option: str) -> tuple[int, ...]:
    """`3,7,10-12` as (3, 7, 10, 11, 12). Raises UsageError, which names the option."""
    numbers: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise UsageError(f"{option} must be crop numbers such as 3,7,10-12, got {part!r}")
        begin, end = int(first), int(last) if dash else int(first)
        if end < begin or end - begin > 10_000:
            raise UsageError(f"{option}: {part} is no range of crop numbers (write the smaller one first)")
        numbers += range(begin, end + 1)
    return tuple(numbers)


def read_marks(path: Path | None, positive: str, negative: str) -> MarksFile:
    """The marks of a file and of the two options together. Raises ConfigErrors, UsageError."""
    read = MarksFile() if path is None else load_model(path, MarksFile)
    more = {
        "positive": read.positive + parse_numbers(positive, "--positive"),
        "negative": read.negative + parse_numbers(negative, "--negative"),
    }
    both = sorted(set(more["positive"]) & set(more["negative"]))
    if both:
        numbers = ", ".join(map(str, both))
        raise UsageError(f"crop {numbers} is marked positive and negative (decide for one of them)")
    return read.model_copy(update=more)


def resolve(marks: MarksFile, crops: Sequence[Crop], sightings: Sightings, scored: Scored) -> list[Mark]:
    """The marks as sightings. A later mark of the same place wins over an earlier one; numbers over places.

    Raises:
        UsageError: a number that no crop has.
        RemoteclipError: a place that this clip does not show.
    """
    by_number = {crop.number: crop for crop in crops}
    unknown = sorted({*marks.positive, *marks.negative} - by_number.keys())
    if unknown:
        known = f"crops are numbered 1 to {len(crops)}" if crops else "the page has no crops"
        raise UsageError(f"there is no crop {', '.join(map(str, unknown))} ({known})")
    found: dict[tuple[str, int], bool] = {}
    for place in marks.places:
        found[place.prompt, _index_of(place, sightings, scored)] = place.right
    for numbers, right in ((marks.positive, True), (marks.negative, False)):
        for number in numbers:
            crop = by_number[number]
            found[crop.prompt, crop.frame if crop.place is None else crop.place] = right
    return [Mark(prompt, index, right) for (prompt, index), right in found.items()]


def save_marks(path: Path, marks: Iterable[Mark], sightings: Sightings, scored: Scored) -> None:
    """Write marks by frame and box, which outlast another list. Raises OSError."""
    places = []
    for mark in marks:
        scene = mark.prompt in scored.bank.layout.scene_ids
        frame = mark.index if scene else int(sightings.frame[mark.index])
        entry: dict[str, object] = {"prompt": mark.prompt, "frame": int(sightings.number[frame])}
        if not scene:
            entry["box"] = [round(float(side), 1) for side in sightings.box[mark.index]]
        places.append({**entry, "right": mark.right})
    text = yaml.safe_dump(
        {"version": 1, "places": places}, default_flow_style=None, sort_keys=False, width=200
    )
    write_atomically(path, text.encode())


def _index_of(mark: PlaceMark, sightings: Sightings, scored: Scored) -> int:
    layout = scored.bank.layout
    if mark.prompt not in (*layout.object_ids, *layout.scene_ids):
        raise RemoteclipError(
            f"a mark is of prompt {mark.prompt}, which the list does not have (remove the mark)"
        )
    frames = np.flatnonzero(sightings.number == mark.frame)
    if not len(frames):
        raise RemoteclipError(
            f"a mark is of frame {mark.frame}, which was not looked at (is it the same clip?)"
        )
    if mark.prompt in layout.scene_ids:
        return int(frames[0])
    if mark.box is None:
        raise RemoteclipError(
            f"a mark of {mark.prompt} in frame {mark.frame} has no box (an object prompt needs one)"
        )
    here = np.flatnonzero((sightings.frame == frames[0]) & scored.peaks(mark.prompt))
    overlap = _overlap(np.array(mark.box, np.float64), sightings.box[here].astype(np.float64))
    if not len(here) or overlap.max() < SAME_PLACE:
        raise RemoteclipError(
            f"a mark of {mark.prompt} in frame {mark.frame} is of a place that is no longer seen there"
            " (remove the mark, or mark the new page)"
        )
    return int(here[overlap.argmax()])


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.maximum(high - low, 0).prod(axis=1)
    area = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - common
    return np.asarray(common / np.maximum(area, 1e-9))
