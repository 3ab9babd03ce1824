"""Two prompt lists side by side on one clip, each flown by the drone's own pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.alerts.machine import AlertMachine
from edge.render import annotate, colours
from edge.tune.collect import Seen
from edge.tune.crops import picture
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from edge.pipeline import FrameResult, Pipeline
    from edge.sources import FrameSource

MOST_FRAMES = 4
"""Frames that are shown: those in which the lists differ most."""
APART_FRAMES = 25
"""Of a video at most one in so many frames is shown."""
_WIDTH = 640  # pixels of a shown frame


@dataclass(slots=True)
class Side:
    """What one list came to, by prompt id; a scene prompt's `series` are its scores.

    counted: sum over frames; most: in one frame; unique: different things (summed over unrelated images);
    best: highest score, threshold or not; series: one value a frame; raises: (time, prompt, rule) of alerts.
    """

    name: str
    thresholds: Mapping[str, float]
    scenes: tuple[str, ...]
    counted: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    unique: dict[str, int] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)
    raises: list[tuple[float, str, str]] = field(default_factory=list)

    def add(self, result: FrameResult) -> None:
        """Take one frame in."""
        best = {**result.scores.best, **result.scores.scene}
        for name, counts in result.counts.prompts.items():
            self.counted[name] = self.counted.get(name, 0) + counts.count
            self.most[name] = max(self.most.get(name, 0), counts.count)
            before = self.unique.get(name, 0) if result.independent else 0
            self.unique[name] = before + counts.unique
            self.best[name] = max(self.best.get(name, 0.0), best.get(name, 0.0))
            value = counts.score if name in self.scenes else float(counts.count)
            self.series.setdefault(name, []).append(value)


@dataclass(frozen=True, slots=True)
class Difference:
    """A frame that shows how the lists differ: what each counts in it, and each one's picture (JPEG)."""

    number: int
    name: str
    time_s: float
    size: int
    counts: tuple[dict[str, int], dict[str, int]]
    pictures: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides, frame times, and the frames in which they differ most, in the order of the clip."""

    sides: tuple[Side, Side]
    times: tuple[float, ...]
    independent: bool
    differences: tuple[Difference, ...]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Ids of both lists, the first one's before those that only the second has."""
        return tuple(dict.fromkeys(name for side in self.sides for name in side.thresholds))


def compare(
    source: FrameSource, names: tuple[str, str], pipelines: tuple[Pipeline, Pipeline], *, seen: Seen = iter
) -> Comparison:
    """Fly both lists over the clip. Each has a pass of the model of its own: lists may ask for other inputs.

    Raises:
        SourceError: the source breaks down, or has no frames.
        EngineError: the model does.
    """
    banks = [pipeline.bank for pipeline in pipelines]
    sides = tuple(
        Side(name, bank.thresholds, bank.layout.scene_ids) for name, bank in zip(names, banks, strict=True)
    )
    machines = [AlertMachine(bank.prompt_list, thresholds=bank.thresholds) for bank in banks]
    times: list[float] = []
    kept: dict[int, Difference] = {}
    for frame in seen(source):
        results = [pipeline.process(frame) for pipeline in pipelines]
        times.append(frame.time_s)
        for side, machine, result in zip(sides, machines, results, strict=True):
            side.add(result)
            changes = machine.update(result.counts, result.tracks, frame.time_s)
            raised = [change for change in changes if change.kind == "raise"]
            side.raises += [(frame.time_s, change.prompt_id, change.reason) for change in raised]
        _keep(kept, results, len(times) - 1 if source.independent else (len(times) - 1) // APART_FRAMES)
    if not times:
        raise SourceError(f"{source.name}: has no frames (give a video or images that can be read)")
    shown = tuple(sorted(kept.values(), key=lambda difference: difference.number))
    first, second = sides
    return Comparison((first, second), tuple(times), source.independent, shown)


def _keep(kept: dict[int, Difference], results: Sequence[FrameResult], stretch: int) -> None:
    """Keep the frame if it is among those that differ most, one of each stretch of the clip."""
    first, second = ({name: c.count for name, c in r.counts.prompts.items()} for r in results)
    size = sum(abs(first.get(name, 0) - second.get(name, 0)) for name in first.keys() | second.keys())
    weakest = min(kept, key=lambda key: kept[key].size, default=stretch)
    if not size or (size <= kept[stretch].size if stretch in kept else False):
        return
    if stretch not in kept and len(kept) == MOST_FRAMES:
        if size <= kept[weakest].size:
            return
        del kept[weakest]
    frame = results[0].frame
    kept[stretch] = Difference(
        frame.number,
        frame.name,
        frame.time_s,
        size,
        (first, second),
        (_drawn(results[0]), _drawn(results[1])),
    )


def _drawn(result: FrameResult) -> bytes:
    palette = colours(result.bank.layout.object_ids)
    return picture(annotate(result.frame.image.rgb(), result.tracks, palette), None, _WIDTH)


def lines(comparison: Comparison) -> list[str]:
    """The comparison as a table for people, a line for each list under each prompt."""
    a, b = comparison.sides
    rows: list[tuple[str, ...]] = [
        ("prompt", "list", "threshold", "mean a frame", "most", "unique", "best score", "alerts")
    ]
    frames = len(comparison.times)
    for name in comparison.prompts:
        for letter, side in (("A", a), ("B", b)):
            if name not in side.thresholds:
                rows.append((name, letter, *["-"] * 6))
                continue
            alerts = sum(prompt == name for _, prompt, _ in side.raises)
            numbers = (f"{side.counted[name] / frames:.2f}", str(side.most[name]), str(side.unique[name]))
            if name in side.scenes:
                numbers = ("-", "-", "-")
            shown = (f"{side.thresholds[name]:.2f}", *numbers, f"{side.best[name]:.2f}", str(alerts))
            rows.append((name, letter, *shown))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    said = [
        "  ".join(
            cell.rjust(width) if column > 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    said.append(f"A {a.name}, B {b.name}; {frames} frames")
    for difference in comparison.differences:
        said.append(f"{difference.name} frame {difference.number}: {counts_said(difference)}")
    return said


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data, pictures left out."""
    return {
        "frames": len(comparison.times),
        "lists": {
            letter: {
                "list": side.name,
                "prompts": {
                    name: {
                        "threshold": round(threshold, 4),
                        "counted": side.counted[name],
                        "most": side.most[name],
                        "unique": side.unique[name],
                        "best": round(side.best[name], 4),
                    }
                    for name, threshold in side.thresholds.items()
                },
                "alerts": [
                    {"time_s": round(time_s, 3), "prompt": prompt, "when": rule}
                    for time_s, prompt, rule in side.raises
                ],
            }
            for letter, side in zip("ab", comparison.sides, strict=True)
        },
        "differences": [
            {"frame": item.number, "source": item.name, "a": item.counts[0], "b": item.counts[1]}
            for item in comparison.differences
        ],
    }


def counts_said(difference: Difference) -> str:
    """What the lists count differently in the frame."""
    first, second = difference.counts
    return ", ".join(
        f"{name} {first.get(name, 0)} in A, {second.get(name, 0)} in B"
        for name in dict.fromkeys([*first, *second])
        if first.get(name, 0) != second.get(name, 0)
    )
