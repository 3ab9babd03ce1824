"""One pass of the model over a clip: every place and scene of every frame, thresholds or not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32, EngineOutput
from edge.engines.pool import EnginePool
from edge.files import sha256_of_file
from edge.letterbox import best_image_size
from edge.lookup import frame_cosines, place_logits
from edge.prompts.build import build_prompt_bank
from edge.prompts.spread import NO_PEAK
from edge.sources.images import SUFFIXES
from edge.tiling import Tiles, candidates, flat, tiles_for
from edge.tune.sightings import Sightings
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.candidates import Candidates
    from edge.frames import Frame
    from edge.prompts.bank import PromptBank
    from edge.runtime import Runtime
    from edge.sources import FrameSource
    from firmware_cfg.prompt_list import LoadedPromptList

MOST_PLACES = 60_000
"""Kept in memory and beside the page (some 40 MB): the strongest of the clip."""
Seen = Callable[[Iterable["Frame"]], Iterable["Frame"]]
"""Wraps the frames of a pass, as a progress bar does."""


def pass_key(source: str, *parts: object) -> str:
    """Hex hash of a source's content and of `parts` (list, model, settings): same key, same sightings.

    A file counts by its bytes, a folder by the names, sizes and times of its images (pages may lie beside).

    Raises:
        SourceError: the source cannot be read.
    """
    digest = hashlib.sha256(repr(parts).encode())
    path = Path(source)
    try:
        if path.is_dir():
            for entry in sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES):
                facts = entry.stat()
                digest.update(repr((entry.name, facts.st_size, facts.st_mtime_ns)).encode())
        elif path.is_file():
            digest.update(sha256_of_file(path).encode())
        else:
            digest.update(source.encode())
    except OSError as error:
        raise SourceError(f"{source}: cannot be read: {error.strerror} (check its permissions)") from error
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Look:
    """How the frames are looked at: `image_size` and `tiles` as of a Pipeline, `every` so many-th of them."""

    image_size: tuple[int, int] | None = None
    tiles: Tiles = "none"
    every: int = 1


EVERYTHING = Look()


def collect(
    runtime: Runtime,
    loaded: LoadedPromptList,
    source: FrameSource,
    key: str,
    look: Look = EVERYTHING,
    *,
    seen: Seen = iter,
) -> Sightings:
    """Look at a clip as a Pipeline with this list does, and keep all that peaks, however it scores.

    Nothing is tracked, and the text tower is freed before the first frame.

    Raises:
        ConfigErrors, MissingExtra: see `build_prompt_bank`.
        SourceError: the source breaks down, or has no frames.
        EngineError: the model does.
    """
    bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
    runtime.release_sentences()
    wanted = look.image_size or loaded.model.image_size
    kept = _Kept(bank)
    engines = EnginePool(runtime)
    try:
        for count, frame in enumerate(seen(source)):
            if count % look.every:
                continue
            size = wanted or best_image_size(frame.width, frame.height, runtime.facts.image_sizes)
            tiling = tiles_for(frame.width, frame.height, size, look.tiles)
            output = engines.get(size).infer(tiling.render(frame.image), bank.graph_rows, bank.graph_bias)
            stride = runtime.facts.stride
            found = candidates(output, bank, runtime.calibration, tiling, stride=stride, everything=True)
            kept.add(frame, found, output)
    finally:
        engines.close()
    if not kept.number:
        raise SourceError(f"{source.name}: has no frames (give a video or images that can be read)")
    return kept.sightings(key, source)


_Block: TypeAlias = tuple[NDArray[np.float64], F32, NDArray[np.float16], NDArray[np.bool_]]
"""Of some places: (n, 2) frame and score, (n, 4) boxes, (n, D + E) embeddings, (n, object rows) peaks."""


@dataclass(slots=True)
class _Kept:
    """What is kept so far; arrays are cut to MOST_PLACES each time that twice as many have come."""

    bank: PromptBank
    number: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    scene_raw: list[list[float]] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)
    waiting: int = 0
    lost: int = 0

    def add(self, frame: Frame, found: Candidates, output: EngineOutput) -> None:
        index = len(self.number)
        layout = self.bank.layout
        self.number.append(frame.number)
        self.time_s.append(frame.time_s)
        self.names.append(frame.name)
        self.scene_raw.append(frame_cosines(output, 0, self.bank).tolist())
        facts = np.stack([np.full(len(found.score), index), found.score.astype(np.float64)], axis=1)
        embeddings = flat(output.place_embedding)[found.cell].astype(np.float16)
        logits = np.concatenate(
            [place_logits(output, tile, self.bank) for tile in range(len(output.place_logit))]
        )
        peaks = logits[found.cell, : layout.scene_begin] > NO_PEAK / 2
        self.blocks.append((facts, found.box, embeddings, peaks))
        self.waiting += len(facts)
        if self.waiting > 2 * MOST_PLACES:
            self.prune()

    def prune(self) -> None:
        facts, boxes, embeddings, peaks = (
            np.concatenate(arrays) for arrays in zip(*self.blocks, strict=True)
        )
        stay = np.sort(np.argsort(-facts[:, 1], kind="stable")[:MOST_PLACES])
        self.lost += len(facts) - len(stay)
        self.blocks = [(facts[stay], boxes[stay], embeddings[stay], peaks[stay])]
        self.waiting = len(stay)

    def sightings(self, key: str, source: FrameSource) -> Sightings:
        self.prune()
        scenes = len(self.bank.layout.scene_ids)
        ((facts, boxes, embeddings, peaks),) = self.blocks
        return Sightings(
            key=key,
            number=np.array(self.number, np.int64),
            time_s=np.array(self.time_s, np.float64),
            names=tuple(self.names),
            scene_raw=np.array(self.scene_raw, np.float32).reshape(len(self.number), scenes),
            frame=facts[:, 0].astype(np.int64),
            box=boxes,
            embedding=embeddings,
            peaks=peaks,
            lost=self.lost,
            independent=source.independent,
            skipped=dict(source.skipped),
        )
