"""Real clips with the shipped model: does the target stay one thing, how near is the demo's unique count?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import firmware_cfg
from benchmarks.tracking.rivals import ByteTrack, Tracked
from benchmarks.tracking.scenes import FPS
from benchmarks.tracking.score import overlaps
from edge.bundle.load import load_bundle
from edge.demo.flight import Truth
from edge.demo.source import DemoSource
from edge.pipeline import FrameResult, Pipeline
from edge.sources import open_source
from firmware_cfg.prompt_list import load_prompt_list

_PROMPTS = Path(firmware_cfg.__file__).parent / "prompts"
_CLIPS = (
    ("truck4", "traffic.yaml", ("truck4_1.txt", "truck4_2.txt")),
    ("boat1", "coast.yaml", ("boat1.txt",)),
)
_ON_TARGET = 0.2
"""Overlap with the target's true box: a truck of 11 pixels is not boxed better than that."""


@dataclass(slots=True)
class Continuity:
    """How long the target kept an id."""

    frames: int = 0
    on_target: Counter[int] = field(default_factory=Counter)
    unique: set[int] = field(default_factory=set)

    def add(self, target: NDArray[np.float64], tracked: Tracked) -> None:
        """One frame in which the target (x, y, w, h) is to be seen."""
        boxes, ids = tracked
        self.frames += 1
        self.unique.update(ids.tolist())
        if len(ids):
            overlap = overlaps(np.array([[*target[:2], *(target[:2] + target[2:])]]), boxes)[0]
            best = int(overlap.argmax())
            if overlap[best] > _ON_TARGET:
                self.on_target[int(ids[best])] += 1

    def cells(self) -> str:
        """Share of frames with the id that it had longest, ids on the target, ids in the whole clip."""
        longest = max(self.on_target.values(), default=0) / self.frames
        return f"{longest:.0%} | {len(self.on_target)} | {len(self.unique)}"


def continuity_table(data: Path) -> str:
    """Markdown: truck4 and boat1, the drone's own pipeline and ByteTrack on its places."""
    head = "one id | ids of the target | unique"
    lines = [f"| clip | ours: {head} | ByteTrack: {head} |", "| --- " * 7 + "|"]
    bundle = load_bundle("default")
    for clip, prompts, labels in _CLIPS:
        targets = np.vstack([_targets(data / "video" / name) for name in labels])
        ours, theirs = Continuity(), Continuity()
        prompt_list = load_prompt_list(_PROMPTS / prompts)
        with (
            open_source(str(data / "video" / f"{clip}.mp4"), sequence=False) as source,
            Pipeline(bundle, prompt_list) as pipeline,
        ):
            rival: ByteTrack | None = None
            for frame, target in zip(source, targets, strict=False):
                result = pipeline.process(frame)
                if rival is None:
                    thresholds = result.bank.object_thresholds
                    rival = ByteTrack(FPS, float(thresholds.min()))
                pixels = np.empty((0, 0, 3), np.uint8)  # it never looks at them
                scores = result.scores
                rivals = rival.update(pixels, scores.places, scores.faint, frame.time_s)
                if not np.isnan(target).any():
                    ours.add(target, _confirmed(result))
                    theirs.add(target, rivals)
        lines.append(f"| {clip} | {ours.cells()} | {theirs.cells()} |")
    return "\n".join(lines)


def demo_line() -> str:
    """The demo flight's unique count beside the true one, over its first twenty seconds and in all."""
    source = DemoSource.from_uri("demo", sequence=True)
    truth, said = Truth(source.flight), []
    prompt_list = load_prompt_list(_PROMPTS / "trees.yaml")
    with source, Pipeline(load_bundle("default"), prompt_list) as pipeline:
        for frame in source:
            counts = pipeline.process(frame).counts.prompts
            truth.fly_over(frame.number)
            if frame.number + 1 in (200, source.length):
                unique = sum(prompt.unique for prompt in counts.values())
                said.append(f"{unique} of {truth.unique} after {frame.time_s:.0f} s")
    return "; ".join(said)


def _targets(path: Path) -> NDArray[np.float64]:
    """(N, 4) x, y, w, h, one line a frame; NaN where the target is hidden."""
    return np.loadtxt(path, delimiter=",", dtype=np.float64).reshape(-1, 4)


def _confirmed(result: FrameResult) -> Tracked:
    sure = [item for item in result.tracks if item.confirmed]
    boxes = np.array([item.place.box for item in sure], np.float64).reshape(-1, 4)
    return boxes, np.array([item.track_id for item in sure], np.int64)
