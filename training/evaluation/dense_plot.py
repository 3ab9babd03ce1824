"""Pictures of `eval dense`: an image with its masks, and the classes before and after rectification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import U8
from training.evaluation.dense_truth import UNASKED, Classes
from training.evaluation.plots import axes_of, save_figure

if TYPE_CHECKING:
    from training.evaluation.dense import DenseReport

_BACKGROUND, _OPEN = (0.55, 0.55, 0.55), (1.0, 1.0, 1.0)
_GOLDEN = 0.618033988749895  # steps of the hue that keep neighbours apart, however many classes there are


def palette(count: int) -> NDArray[np.float64]:
    """Colours of `count` prompts, background and pixels that were left open: (count + 2, 3), 0 to 1."""
    from matplotlib.colors import hsv_to_rgb

    hues = [(0.6 + _GOLDEN * number) % 1 for number in range(count)]
    lights = [(0.95, 0.7)[number % 2] for number in range(count)]
    prompts = [hsv_to_rgb((hue, 0.75, light)) for hue, light in zip(hues, lights, strict=True)]
    return np.array([*prompts, _BACKGROUND, _OPEN])


def draw_maps(
    path: Path, image: U8, truth: Classes, labels: Sequence[Classes], prompts: Sequence[str]
) -> None:
    """Image, truth and labels (one, or before and after) side by side with a legend, as a PNG file."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colours = palette(len(prompts))
    titles = ["image", "truth", *(["before", "after"] if len(labels) == 2 else ["labels"])]
    panels: list[Any] = [image]
    panels += [colours[np.where(one == UNASKED, len(colours) - 1, one)] for one in (truth, *labels)]
    height = 3.2 * image.shape[0] / image.shape[1]
    figure = Figure((3.2 * len(panels), height + 1.0), layout="constrained")
    for axes, panel, title in zip(figure.subplots(1, len(panels)), panels, titles, strict=True):
        axes.imshow(panel, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    there = np.unique(np.concatenate([one.ravel() for one in (truth, *labels)]))
    names = [*prompts, "other classes", "left open"]
    shown = [int(number) if number != UNASKED else len(names) - 1 for number in there]
    handles = [
        Patch(facecolor=tuple(colours[number]), edgecolor="black", label=names[number])
        for number in sorted(shown)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=8)
    save_figure(figure, path)


def draw_classes(report: DenseReport, path: Path) -> None:
    """IoU of every class with its interval, before and after, as a figure file."""
    way = report.chosen
    sides = [("before", way.before), ("after", way.after)] if way.before else [("IoU", way.after)]
    names = [name for name, one in way.after.classes.items() if one.iou is not None]
    figure, axes = axes_of(max(5.0, 1.5 + 0.6 * len(names)), 4.5)
    for place, (label, side) in enumerate(sides):
        found = [side.classes[name] for name in names] if side else []
        x = np.arange(len(names)) + (place - (len(sides) - 1) / 2) * 0.4
        y = np.array([one.iou for one in found], np.float64)
        ends = np.array([(one.low, one.high) for one in found], np.float64).T
        error = np.clip(np.stack([y - ends[0], ends[1] - y]), 0, None)
        miou = side.miou if side else 0.0
        axes.bar(
            x, y, 0.4 if len(sides) > 1 else 0.7, yerr=error, label=f"{label}, mean {miou:.3f}", capsize=2
        )
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set(ylabel="IoU", title=f"{report.dataset} {report.split}, n = {report.n}; others: {report.others}")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    save_figure(figure, path)
