"""Figures of reports, by matplotlib (extra: train): confusion matrices and curves with their intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.files import write_atomically
from firmware_cfg.errors import UsageError
from training.errors import require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
_NUMBERED = 25  # a larger matrix has no room for numbers in its cells


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a figure: points, and where given the ends of their 95% intervals."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def check_plot(path: Path) -> None:
    """Refuse a figure that could not be written, before the work of an evaluation.

    Raises UsageError for another kind of file or a missing folder, MissingExtra without matplotlib.
    """
    require_extra("train", "matplotlib")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a figure is one of {', '.join(SUFFIXES)} (name it so)")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent} (create it)")


def axes_of(width: float = 7.0, height: float = 4.5) -> tuple[Figure, Axes]:
    """An empty figure of that many inches, and its axes."""
    require_extra("train", "matplotlib")
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    return figure, figure.subplots()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically; see check_plot. Raises UsageError, OSError."""
    check_plot(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=150)
    write_atomically(path, buffer.getvalue())


def confusion_figure(counts: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """A confusion matrix (C, C): true classes as rows, each row in percent of its sum."""
    total = counts.sum(axis=1, keepdims=True)
    percent = 100 * counts / np.maximum(total, 1)
    classes = len(names)
    side = max(4.0, 1.8 + 0.42 * classes)
    figure, axes = axes_of(side + 1.2, side)
    image = axes.imshow(percent, vmin=0, vmax=100, cmap="Blues")
    axes.set_xticks(range(classes), list(names), rotation=90)
    axes.set_yticks(range(classes), [f"{name} ({n})" for name, n in zip(names, total[:, 0], strict=True)])
    axes.set_xlabel("found")
    axes.set_ylabel("true (how many)")
    axes.set_title(title)
    if classes <= _NUMBERED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if percent[row, column] > 50 else "black"
            text = f"{percent[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, label="percent of the true class")
    return figure


def curves_figure(
    curves: Sequence[Curve],
    title: str,
    axis_names: tuple[str, str],
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Curves with their intervals shaded: x above 0, on a logarithmic axis with a tick at every point given;
    y a share from 0 to 1. marks: horizontal lines by their name.
    """
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    figure, axes = axes_of()
    for curve in curves:
        (line,) = axes.plot(curve.x, curve.y, marker="o", markersize=3, label=curve.name)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, alpha=0.2, color=line.get_color(), linewidth=0)
    for name, height in (marks or {}).items():
        axes.axhline(height, linestyle="--", color="grey", label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_major_locator(FixedLocator(sorted({x for curve in curves for x in curve.x})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(ylim=(0.0, 1.0), xlabel=axis_names[0], ylabel=axis_names[1], title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
