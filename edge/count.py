"""Offline counting: the daemon's own pipeline over a source, and one record a frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import edge.demo.source  # noqa: F401 - makes `demo` a source that open_source knows
from edge.pipeline import FrameResult, InFlight, Pipeline
from edge.sources import FrameSource
from edge.whereabouts import Whereabouts


def count_frames(
    source: FrameSource, pipeline: Pipeline, whereabouts: Whereabouts | None = None
) -> Iterator[FrameResult]:
    """Every readable frame of the source, counted. Raises SourceError, EngineError.

    While the engine works on a frame, the one before is finished and the next one decoded: another prompt
    list holds from the first frame on that is not with the engine yet.
    """
    frames = iter(source)
    flying: deque[InFlight] = deque()
    failure: Exception | None = None
    try:
        while failure is None:
            try:
                if (frame := next(frames, None)) is None:
                    break
                flying.append(pipeline.begin(frame if whereabouts is None else whereabouts.attach(frame)))
            except Exception as error:  # noqa: BLE001 - raised below, after what was found before it
                failure = error
            if len(flying) == pipeline.most_in_flight:
                yield pipeline.finish(flying.popleft())
        while flying:
            yield pipeline.finish(flying.popleft())
        if failure is not None:
            raise failure
    finally:
        pipeline.forget()


def record(result: FrameResult) -> dict[str, Any]:
    """One frame as `remoteclip count --json` prints it: boxes in pixels of the frame, scores from 0 to 1.

    Where the frame has a pose, each place has a `position`: [longitude, latitude, h_acc_m], or null. Where
    the list has zones or lines, `zones` and `crossings` are there too, by prompt as `counts` are.
    """
    objects = result.bank.layout.object_ids
    numbers = result.counts.prompts
    places: list[dict[str, Any]] = [
        {
            "prompt": tracked.place.prompt,
            "score": round(tracked.place.score, 4),
            "box": [round(float(side), 1) for side in tracked.place.box],
            "track": tracked.track_id,
        }
        for tracked in result.tracks
    ]
    for place, point in zip(places, result.ground or (), strict=False):
        place["position"] = point and [round(point[0], 7), round(point[1], 7), round(point[2], 1)]
    line: dict[str, Any] = {
        "frame": result.frame.number,
        "source": result.frame.name,
        "time_s": round(result.frame.time_s, 3),
        "counts": {name: numbers[name].count for name in objects},
        "unique": {name: numbers[name].unique for name in objects},
        "scene": {name: round(score, 4) for name, score in result.scores.scene.items()},
        "places": places,
    }
    if any(numbers[name].zones for name in objects):
        line["zones"] = {name: dict(numbers[name].zones) for name in objects}
    if any(numbers[name].crossings for name in objects):
        line["crossings"] = {name: _by_line(numbers[name].crossings) for name in objects}
    return line


def _by_line(crossings: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Line -> "in" and "out" -> crossings since the start."""
    lines: dict[str, dict[str, int]] = {}
    for (name, way), number in crossings.items():
        lines.setdefault(name, {})[way] = number
    return lines


@dataclass(slots=True)
class CountTable:
    """What a whole source came to, prompt by prompt, for people."""

    frames: int = 0
    most: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    unique: dict[str, int] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    """By object prompt: its highest score, threshold or not."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    scene: dict[str, tuple[float, int]] = field(default_factory=dict)
    """By scene prompt: its highest score, and in how many frames it reached its threshold."""
    zones: dict[str, dict[str, int]] = field(default_factory=dict)
    """By zone and object prompt: the most in one frame."""
    crossings: dict[str, dict[str, Mapping[str, int]]] = field(default_factory=dict)
    """By line and object prompt: how many went in and out."""

    def add(self, result: FrameResult) -> None:
        """Take one frame in."""
        self.frames += 1
        self.thresholds = result.bank.thresholds
        for name in result.bank.layout.object_ids:
            numbers = result.counts.prompts[name]
            self.most[name] = max(self.most.get(name, 0), numbers.count)
            self.total[name] = self.total.get(name, 0) + numbers.count
            before = self.unique.get(name, 0) if result.independent else 0
            self.unique[name] = before + numbers.unique
            self.best[name] = max(self.best.get(name, 0.0), result.scores.best.get(name, 0.0))
            for zone, number in numbers.zones.items():
                most = self.zones.setdefault(zone, {})
                most[name] = max(most.get(name, 0), number)
            for line, ways in _by_line(numbers.crossings).items():
                self.crossings.setdefault(line, {})[name] = ways
        for name, score in result.scores.scene.items():
            highest, frames = self.scene.get(name, (0.0, 0))
            reached = score >= result.bank.thresholds[name]
            self.scene[name] = (max(highest, score), frames + reached)

    def lines(self, skipped: Mapping[str, int], unplaced: Mapping[str, int] | None = None) -> list[str]:
        """The table as text, with what was lost by cause.

        Args:
            skipped: the source's unreadable frames.
            unplaced: telemetry that gave no position; its frames were counted.
        """
        rows = [("prompt", "mean a frame", "most", "unique", "best score", "threshold")] if self.total else []
        rows += [
            (
                name,
                f"{self.total[name] / self.frames:.2f}",
                str(self.most[name]),
                str(self.unique[name]),
                f"{self.best[name]:.2f}",
                f"{self.thresholds[name]:.2f}",
            )
            for name in self.total
        ]
        lines = _aligned(rows)
        if self.scene:
            scene_rows = [("scene", "frames", "best score", "threshold")]
            scene_rows += [
                (name, str(frames), f"{best:.2f}", f"{self.thresholds[name]:.2f}")
                for name, (best, frames) in self.scene.items()
            ]
            lines += _aligned(scene_rows)
        lines += self._area_lines()
        unseen = [name for name, most in self.most.items() if not most]
        unseen += [name for name, (_, frames) in self.scene.items() if not frames]
        if unseen and self.frames:
            mend = "remoteclip prompts tune shows what came near"
            lines.append(f"never reached the threshold: {', '.join(unseen)} ({mend})")
        end = f"{self.frames} frames"
        for what, causes in (("skipped", skipped), ("no position", unplaced)):
            if causes:
                end += f"; {what}: " + ", ".join(f"{number} {cause}" for cause, number in causes.items())
        return [*lines, end]

    def _area_lines(self) -> list[str]:
        lines: list[str] = []
        for zone, most in self.zones.items():
            seen = ", ".join(f"{number} {name}" for name, number in most.items() if number)
            lines.append(f"zone {zone}: {f'most in one frame {seen}' if seen else 'nothing in it'}")
        for line, prompts in self.crossings.items():
            gone = ", ".join(
                f"{name} {ways['in']} in {ways['out']} out"
                for name, ways in prompts.items()
                if any(ways.values())
            )
            lines.append(f"line {line}: {gone or 'nothing crossed it'}")
        return lines


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
