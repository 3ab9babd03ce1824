"""What a prompt list finds in a folder of images, as units that two models can have an opinion of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32, U8
from edge.progress import watched
from edge.prompts.bank import PromptBank
from edge.prompts.build import build_prompt_bank
from edge.runtime import Runtime
from edge.sources import open_source
from edge.sources.images import ImageFiles, read_rgb
from edge.tune.collect import collect
from edge.tune.scoring import Scored, Scorer, probability
from edge.tune.sightings import Sightings
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import LoadedPromptList
from training.blindpairs.encoders import Encoder
from training.duplicates import SegmentIndex, phash

LOWEST = 0.05
"""What scores less for every prompt is no find of any, and is not looked at."""
_AROUND = 1.5  # of a place's longer side: how much of its surroundings the encoder sees
_LEAST_SIDE = 32  # pixels of the image
_BATCH = 32

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """N places of object prompts, or N whole images, with the model's opinion and the encoder's embedding.

    Attributes:
        ids: the P prompts they are scored for.
        score: (N, P) calibrated, 0 to 1; of a place 0 for prompts that it does not belong to.
        found: (N, P) which reach the prompt's threshold.
        odds: (N, P) log-odds of all prompts at that unit, its owner's and the others'.
        image: (N,) index into the images; scene: (N,) the same number for near-duplicate images.
        box: (N, 4) x1 y1 x2 y2 in pixels of its image; 0, 0, inf, inf of a whole one.
        embedding: (N, W) the encoder's, unit rows.
    """

    ids: tuple[str, ...]
    score: NDArray[np.float64]
    found: Bools
    odds: NDArray[np.float64]
    image: Ints
    scene: Ints
    box: F32
    embedding: F32


@dataclass(frozen=True, slots=True, eq=False)
class Terrain:
    """A folder under a list: its images by name, places, whole images, and the thresholds in force."""

    folder: Path
    names: tuple[str, ...]
    places: Units
    scenes: Units
    bank: PromptBank


def survey(runtime: Runtime, loaded: LoadedPromptList, folder: Path, encoder: Encoder, most: int) -> Terrain:
    """Look at every image right inside a folder as the drone does, and encode what it may have found.

    Args:
        most: units that are encoded, of places and of images each; of more, the scores' whole range is kept.

    Raises:
        SourceError: no folder, no images, none that can be read.
        RemoteclipError: fewer than two images that are not near-duplicates.
        ConfigErrors, EngineError, MissingExtra: as `collect` does.
    """
    with open_source(str(folder)) as source:
        if not isinstance(source, ImageFiles) or not folder.is_dir():
            raise RemoteclipError(f"{folder}: is not a folder of images (give one with field images)")
        if source.length is not None and source.length < 2:
            raise RemoteclipError(
                f"{folder}: one image cannot be compared with another (give a folder of many)"
            )
        with watched("looking") as seen:
            sightings = collect(runtime, loaded, source, "", seen=seen)
    try:
        bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
    finally:
        runtime.release_sentences()
    paths = [folder / name for name in sightings.names]
    scene = _scenes(paths)
    if len(np.unique(scene)) < 2:
        raise RemoteclipError(
            f"{folder}: its {len(paths)} images are near-duplicates of one another (give others)"
        )
    scored = Scorer(runtime.facts, runtime.calibration).score(sightings, bank)
    return Terrain(
        folder,
        sightings.names,
        _places(sightings, scored, scene, paths, encoder, most),
        _whole(scored, scene, paths, encoder, most),
        bank,
    )


def crop(pixels: U8, box: NDArray[np.floating]) -> U8:
    """The square around a place, with something of its surroundings, shifted to lie inside of the image.

    pixels: (H, W, 3) uint8 RGB; box: x1 y1 x2 y2 in its pixels. Of an image narrower than the square all of
    its width is taken.
    """
    high, wide = pixels.shape[:2]
    x1, y1, x2, y2 = (float(side) for side in box)
    side = round(max(_AROUND * max(x2 - x1, y2 - y1), _LEAST_SIDE))
    left = min(max(round((x1 + x2 - side) / 2), 0), max(wide - side, 0))
    top = min(max(round((y1 + y2 - side) / 2), 0), max(high - side, 0))
    return pixels[top : top + side, left : left + side]


def spread(score: NDArray[np.floating], found: Bools, most: int) -> Ints:
    """Indices of at most `most` units: half of them found, half not, each evenly over their scores' ranks.

    Where one half is small, the other one is given what it leaves.
    """
    halves = [np.flatnonzero(found), np.flatnonzero(~found)]
    first = min(len(halves[0]), max(most - most // 2, most - len(halves[1])))
    picked = []
    for half, number in zip(halves, (first, most - first), strict=True):
        ranked = half[np.argsort(-score[half], kind="stable")]
        steps = np.linspace(0, max(len(ranked) - 1, 0), min(number, len(ranked)))
        picked.append(ranked[np.round(steps).astype(np.int64)])
    return np.sort(np.concatenate(picked)).astype(np.int64)


def _places(
    sightings: Sightings, scored: Scored, scene: Ints, paths: Sequence[Path], encoder: Encoder, most: int
) -> Units:
    ids = scored.bank.layout.object_ids
    odds = scored.object_odds
    every = np.arange(len(odds))
    score = np.zeros(odds.shape)
    if ids:
        score[every, scored.owner] = probability(odds[every, scored.owner])
    found = score >= scored.bank.object_thresholds
    found &= score > 0  # a threshold of 0 is reached by what belongs to the prompt alone
    rows = [np.empty(0, np.int64)]
    for column in range(len(ids)):
        mine = np.flatnonzero((scored.owner == column) & (score[:, column] >= LOWEST))
        rows.append(mine[spread(score[mine, column], found[mine, column], most // len(ids))])
    index = np.sort(np.concatenate(rows))
    image, box = sightings.frame[index], sightings.box[index]
    crops = _crops(paths, image, box)
    return Units(
        ids,
        score[index],
        found[index],
        odds[index],
        image,
        scene[image],
        box,
        _encoded(encoder, crops, "places"),
    )


def _whole(scored: Scored, scene: Ints, paths: Sequence[Path], encoder: Encoder, most: int) -> Units:
    layout = scored.bank.layout
    asked = len(paths) if layout.scene_ids else 0
    index = np.unique(np.round(np.linspace(0, max(asked - 1, 0), min(most, asked))).astype(np.int64))
    odds = scored.scene_odds[index]
    score = probability(odds)
    thresholds = np.array([scored.bank.thresholds[name] for name in layout.scene_ids])
    whole = np.tile(np.array([0, 0, np.inf, np.inf], np.float32), (len(index), 1))
    embedding = _encoded(encoder, (read_rgb(paths[number]) for number in index), "images")
    return Units(layout.scene_ids, score, score >= thresholds, odds, index, scene[index], whole, embedding)


def _scenes(paths: Sequence[Path]) -> Ints:
    """The number of each image's first near-duplicate, its own where it has none."""
    index = SegmentIndex()
    scene = np.empty(len(paths), np.int64)
    for number, path in enumerate(paths):
        bits = phash(path)
        near = index.near(bits)
        scene[number] = scene[near[0]] if near else number
        index.add(bits, number)
    return scene


def _crops(paths: Sequence[Path], image: Ints, box: F32) -> Iterable[U8]:
    """Each place's crop, in order; images are read once, since places are ordered by image."""
    last, pixels = -1, np.empty((0, 0, 3), np.uint8)
    for number, corners in zip(image.tolist(), box, strict=True):
        if number != last:
            last, pixels = number, read_rgb(paths[number])
        yield np.ascontiguousarray(crop(pixels, corners))


def _encoded(encoder: Encoder, pictures: Iterable[U8], what: str) -> F32:
    rows: list[F32] = [np.empty((0, encoder.width), np.float32)]
    waiting: list[U8] = []
    with watched(f"encoding {what}") as seen:
        for picture in seen(pictures):
            waiting.append(picture)
            if len(waiting) == _BATCH:
                rows.append(encoder.encode(waiting))
                waiting = []
    if waiting:
        rows.append(encoder.encode(waiting))
    return np.concatenate(rows)
