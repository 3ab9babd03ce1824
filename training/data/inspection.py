"""`remoteclip data inspect`: built shards to look at. Reads the shards alone: what training gets."""

from __future__ import annotations

import io
import random
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.files import write_atomically
from training.data.manifest import read_manifest
from training.data.reader import ShardSample, ShardSamples
from training.progress import track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 6  # pictures a row of the contact sheet
_CLASSES = 30  # bars of the class histogram
_COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#42d4f4", "#f032e6", "#bfef45", "#fabed4")


@dataclass(slots=True)
class SetFigures:
    """What one set brings: numbers of images, sentences and words, boxes an image, and boxes by class."""

    images: int = 0
    captions: int = 0
    lengths: Counter[int] = field(default_factory=Counter)  # words -> sentences
    objects: Counter[int] = field(default_factory=Counter)  # boxes -> images
    classes: Counter[str] = field(default_factory=Counter)

    def add(self, sample: ShardSample) -> None:
        """Count one sample."""
        self.images += 1
        self.captions += len(sample.captions)
        self.lengths.update(len(caption.split()) for caption in sample.captions)
        self.objects[len(sample.labels)] += 1
        self.classes.update(sample.names[label] for label in sample.labels.tolist())
        if sample.label:
            self.classes[sample.label] += 1

    def as_json(self) -> dict[str, Any]:
        words = sum(length * number for length, number in self.lengths.items())
        boxes = sum(number * images for number, images in self.objects.items())
        return {
            "images": self.images,
            "captions": self.captions,
            "words_a_caption": round(words / self.captions, 2) if self.captions else None,
            "boxes": boxes,
            "boxes_an_image": round(boxes / self.images, 2),
            "classes": dict(self.classes.most_common()),
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """Figures by set, and the files drawn."""

    part: str
    sets: dict[str, SetFigures]
    pictures: tuple[Path, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "n": sum(figures.images for figures in self.sets.values()),
            "sets": {name: figures.as_json() for name, figures in self.sets.items()},
            "pictures": [str(path) for path in self.pictures],
        }

    def table(self) -> Any:
        """The figures as a table of rich."""
        from rich.table import Table

        table = Table("set", title=f"samples of part {self.part}")
        for column in ("images", "captions", "words a caption", "boxes", "boxes an image", "classes"):
            table.add_column(column, justify="right")
        for name, figures in self.sets.items():
            row = figures.as_json()
            row["classes"] = len(figures.classes)
            table.add_row(name, *("" if value is None else str(value) for value in row.values()))
        return table


def inspect_shards(
    folder: Path, out: Path, part: str = "train", images: int = 24, seed: int = 0
) -> Inspection:
    """Draw `contact_sheet.png` and `histograms.png` into `out`, and count.

    Raises DataError where the folder holds no finished build, or not this part.
    """
    manifest = read_manifest(folder)
    samples = ShardSamples(folder, part)
    sets = {source.name: SetFigures() for source in manifest.sources}
    members: dict[str, list[int]] = {name: [] for name in sets}
    for index in track(range(len(samples)), "reading shards"):
        sample = samples[index]
        sets[sample.source].add(sample)
        members[sample.source].append(index)
    sets = {name: figures for name, figures in sets.items() if figures.images}
    out.mkdir(parents=True, exist_ok=True)
    chosen = _chosen([members[name] for name in sets], images, seed)
    sheet, histograms = out / f"contact_sheet_{part}.png", out / f"histograms_{part}.png"
    write_atomically(sheet, _contact_sheet([samples[index] for index in chosen]))
    write_atomically(histograms, _histograms(sets))
    return Inspection(part, sets, (sheet, histograms))


def _chosen(members: Sequence[Sequence[int]], images: int, seed: int) -> list[int]:
    """The same number of every set as far as it goes, drawn at random, set by set."""
    rng = random.Random(seed)
    drawn = [rng.sample(list(of_set), len(of_set)) for of_set in members]
    taken: list[list[int]] = [[] for _ in drawn]
    while sum(map(len, taken)) < images and any(drawn):
        for pile, rest in zip(taken, drawn, strict=True):
            if rest and sum(map(len, taken)) < images:
                pile.append(rest.pop())
    return [index for pile in taken for index in pile]


def _contact_sheet(samples: Sequence[ShardSample]) -> bytes:
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    figure = Figure(figsize=(3.4 * columns, 5.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, sample in zip(axes.flat, track(samples, "drawing"), strict=False):
        _draw(axis, sample)
    return _png(figure)


def _draw(axis: Axes, sample: ShardSample) -> None:
    """The image with its boxes (points as dots), what its colours mean, and its captions below."""
    from matplotlib.patches import Rectangle

    axis.imshow(sample.pixels())
    for box, label in zip(sample.boxes, sample.labels.tolist(), strict=True):
        colour = _COLOURS[label % len(_COLOURS)]
        width, height = float(box[2] - box[0]), float(box[3] - box[1])
        if width and height:
            corner = float(box[0]), float(box[1])
            axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=1.0))
        else:
            axis.plot([box[0]], [box[1]], ".", color=colour, markersize=3)
    for x1, y1, x2, y2 in sample.ignored.tolist():
        axis.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="white", linewidth=0.8, linestyle=":")
        )
    axis.set_anchor("N")  # pictures of a row begin at one height, whatever their shape
    axis.set_xlim(0, sample.width)
    axis.set_ylim(sample.height, 0)
    classes = ", ".join(sample.names[label] for label in np.unique(sample.labels).tolist()) or sample.label
    title = f"{sample.key} · {classes}" if classes else sample.key
    axis.set_title(textwrap.fill(title, 44), fontsize=7, loc="left")
    said = "\n".join(
        textwrap.fill(f"• {caption}", 64, max_lines=2, placeholder=" …") for caption in sample.captions[:6]
    )
    # A caption is text, whatever it holds: a dollar sign must not begin a formula.
    axis.text(0, -0.02, said, transform=axis.transAxes, fontsize=6.5, va="top", parse_math=False)


def _histograms(sets: dict[str, SetFigures]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7), layout="constrained")
    by_class, by_count, by_length = figure.subplots(1, 3)
    classes: Counter[str] = Counter()
    for name, figures in sets.items():
        classes.update({f"{key} ({name})": number for key, number in figures.classes.items()})
    shown = classes.most_common(_CLASSES)[::-1]
    by_class.barh([key for key, _ in shown], [number for _, number in shown])
    by_class.set_xscale("log")
    by_class.set_xlim(left=0.8)
    by_class.tick_params(axis="y", labelsize=7)
    more = len(classes) - len(shown)
    by_class.set_title("boxes, or images of a scene label" + (f"; {more} classes more" if more > 0 else ""))
    counted = {
        name: figures.objects
        for name, figures in sets.items()
        if figures.classes and set(figures.objects) != {0}
    }
    _lines(by_count, counted, "objects an image", "images")
    _lines(
        by_length, {name: figures.lengths for name, figures in sets.items()}, "words a caption", "captions"
    )
    return _png(figure)


def _lines(axis: Axes, tables: dict[str, Counter[int]], title: str, unit: str) -> None:
    """One stepped line a set: overlaid bars of many sets would hide one another."""
    most = max((max(table) for table in tables.values() if table), default=1)
    edges = np.arange(0, most + 2) if most < 60 else np.linspace(0, most + 1, 60)
    for name, table in tables.items():
        heights, _ = np.histogram(list(table.keys()), bins=edges, weights=list(table.values()))
        axis.stairs(heights, edges, label=name, linewidth=1.4)
    axis.set_title(title)
    axis.set_ylabel(unit)
    axis.set_yscale("symlog", linthresh=1)
    if tables:
        axis.legend(fontsize=8)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()
