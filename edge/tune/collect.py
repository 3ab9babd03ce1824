"""One pass of the model over a clip: every place and scene of every frame, thresholds or not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from edge.files import sha256_of_file
from edge.prompts.build import in_memory_list
from edge.tune.sightings import Sightings
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.frames import Frame
    from edge.pipeline import FrameResult, Pipeline
    from edge.sources import FrameSource
    from firmware_cfg.prompt_list import LoadedPromptList

MOST_PLACES = 60_000
"""Kept in memory and beside the page (some 40 MB): the strongest of the clip."""
Seen = Callable[[Iterable["Frame"]], Iterable["Frame"]]
"""Wraps the frames of a pass, as a progress bar does."""


def open_list(loaded: LoadedPromptList) -> LoadedPromptList:
    """The list with every threshold at 0, so that the pipeline hands out all that it sees."""
    prompts = tuple(prompt.model_copy(update={"threshold": 0.0}) for prompt in loaded.model.prompts)
    return in_memory_list(loaded.model.model_copy(update={"prompts": prompts}), loaded.path)


def pass_key(source: str, *parts: object) -> str:
    """Hex hash of a source's content and of `parts` (list, model, settings): same key, same sightings.

    A file counts by its bytes, a folder by the names, sizes and times of its files.

    Raises:
        SourceError: the source cannot be read.
    """
    digest = hashlib.sha256(repr(parts).encode())
    path = Path(source)
    try:
        if path.is_dir():
            for entry in sorted(path.iterdir()):
                facts = entry.stat()
                digest.update(repr((entry.name, facts.st_size, facts.st_mtime_ns)).encode())
        elif path.is_file():
            digest.update(sha256_of_file(path).encode())
        else:
            digest.update(source.encode())
    except OSError as error:
        raise SourceError(f"{source}: cannot be read: {error.strerror} (check its permissions)") from error
    return digest.hexdigest()


def collect(
    pipeline: Pipeline, source: FrameSource, key: str, *, every: int = 1, seen: Seen = iter
) -> Sightings:
    """Run the pipeline, which must fly an `open_list`, over every `every`-th frame.

    Raises:
        SourceError: the source breaks down, or has no frames.
        EngineError: the model does.
    """
    kept = _Kept(pipeline.bank.layout.scene_ids)
    for count, frame in enumerate(seen(source)):
        if count % every == 0:
            kept.add(pipeline.process(frame))
    if not kept.number:
        raise SourceError(f"{source.name}: has no frames (give a video or images that can be read)")
    return kept.sightings(key, source)


_Block: TypeAlias = tuple[NDArray[np.float64], F32, NDArray[np.float16]]
"""Of some places: (n, 2) frame and score, (n, 4) boxes, (n, D + E) embeddings."""


@dataclass(slots=True)
class _Kept:
    """What is kept so far; arrays are cut to MOST_PLACES each time that twice as many have come."""

    scene_ids: tuple[str, ...]
    number: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    size: list[tuple[int, int]] = field(default_factory=list)
    scene_raw: list[list[float]] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)
    waiting: int = 0
    lost: int = 0

    def add(self, result: FrameResult) -> None:
        index = len(self.number)
        self.number.append(result.frame.number)
        self.time_s.append(result.frame.time_s)
        self.names.append(result.frame.name)
        self.size.append((result.frame.width, result.frame.height))
        self.scene_raw.append([result.scores.scene_raw[name] for name in self.scene_ids])
        places = [place for place in result.scores.places if place.embedding is not None]
        if places:
            facts = np.array([(index, place.score) for place in places], np.float64)
            boxes = np.array([place.box for place in places], np.float32)
            embeddings = np.array([place.embedding for place in places], np.float16)
            self.blocks.append((facts, boxes, embeddings))
            self.waiting += len(places)
        if self.waiting > 2 * MOST_PLACES:
            self.prune()

    def prune(self) -> None:
        if not self.blocks:
            return
        facts, boxes, embeddings = (np.concatenate(arrays) for arrays in zip(*self.blocks, strict=True))
        stay = np.sort(np.argsort(-facts[:, 1], kind="stable")[:MOST_PLACES])
        self.lost += len(facts) - len(stay)
        self.blocks = [(facts[stay], boxes[stay], embeddings[stay])]
        self.waiting = len(stay)

    def sightings(self, key: str, source: FrameSource) -> Sightings:
        self.prune()
        none: _Block = (np.zeros((0, 2)), np.zeros((0, 4), np.float32), np.zeros((0, 0), np.float16))
        facts, boxes, embeddings = self.blocks[0] if self.blocks else none
        return Sightings(
            key=key,
            number=np.array(self.number, np.int64),
            time_s=np.array(self.time_s, np.float64),
            names=tuple(self.names),
            size=np.array(self.size, np.int64).reshape(-1, 2),
            scene_raw=np.array(self.scene_raw, np.float32).reshape(len(self.number), len(self.scene_ids)),
            frame=facts[:, 0].astype(np.int64),
            box=boxes,
            embedding=embeddings,
            lost=self.lost,
            independent=source.independent,
            skipped=dict(source.skipped),
        )
