"""Flies the scenes past every rival and adds up how they did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.tracking.detections import THRESHOLD, Detector
from benchmarks.tracking.grounds import Ground
from benchmarks.tracking.rivals import ByteTrack, Ours, Rival
from benchmarks.tracking.scenes import Scene, fly
from benchmarks.tracking.score import Score

MakeRival = Callable[[Scene], Rival]

RIVALS: Mapping[str, MakeRival] = {
    "ours": lambda scene: Ours(with_motion=True),
    "ours, no motion": lambda scene: Ours(with_motion=False),
    "ByteTrack": lambda scene: ByteTrack(scene.fps, THRESHOLD),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One rival in one scene, over all its flights.

    error    mean over flights of |unique count / true one - 1|
    signed   the same with its sign: above 0 too many
    seconds  spent in the rival, camera motion included
    """

    scene: str
    rival: str
    true_unique: int
    error: float
    signed: float
    idf1: float
    seconds: float
    frames: int


def compete(
    scenes: Sequence[Scene],
    grounds: Sequence[Ground],
    seeds: Iterable[int],
    rivals: Mapping[str, MakeRival] = RIVALS,
) -> list[Row]:
    """Every rival sees the very same places of every flight (scene x ground x seed)."""
    rows: list[Row] = []
    flights = [(ground, seed) for seed in seeds for ground in grounds]
    for scene in scenes:
        scores: dict[str, list[Score]] = {name: [] for name in rivals}
        spent = dict.fromkeys(rivals, 0.0)
        frames = 0
        for ground, seed in flights:
            detector = Detector(scene, len(ground.boxes) + scene.movers, seed)
            racing = {name: (make(scene), Score()) for name, make in rivals.items()}
            for shot in fly(scene, ground, seed):
                frames += 1
                places, faint = detector.find(shot)
                for name, (rival, score) in racing.items():
                    began = time.perf_counter()
                    tracked = rival.update(shot.pixels, places, faint, shot.time_s)
                    spent[name] += time.perf_counter() - began
                    score.add(shot, tracked)
            for name, (_, score) in racing.items():
                scores[name].append(score)
        for name, all_of_it in scores.items():
            errors = [score.error for score in all_of_it]
            rows.append(
                Row(
                    scene=scene.name,
                    rival=name,
                    true_unique=sum(score.true_unique for score in all_of_it),
                    error=float(np.mean(np.abs(errors))),
                    signed=float(np.mean(errors)),
                    idf1=float(np.mean([score.idf1() for score in all_of_it])),
                    seconds=spent[name],
                    frames=frames,
                )
            )
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line a scene, |error| and IDF1 of every rival, and their means."""
    rivals = list(dict.fromkeys(row.rival for row in rows))
    scenes = list(dict.fromkeys(row.scene for row in rows))
    by = {(row.scene, row.rival): row for row in rows}
    heads = [f"{rival}: error | IDF1" for rival in rivals]
    lines = ["| scene | true | " + " | ".join(heads) + " |", "| --- " * (2 + 2 * len(rivals)) + "|"]
    for scene in scenes:
        cells = [f"{by[scene, r].signed:+.1%} | {by[scene, r].idf1:.3f}" for r in rivals]
        lines.append(f"| {scene} | {by[scene, rivals[0]].true_unique} | " + " | ".join(cells) + " |")
    means = []
    for rival in rivals:
        mine = [row for row in rows if row.rival == rival]
        idf1 = np.mean([row.idf1 for row in mine])
        means.append(f"{np.mean([row.error for row in mine]):.1%} | {idf1:.3f}")
    lines.append("| mean of absolute errors |  | " + " | ".join(means) + " |")
    return "\n".join(lines)
