"""The figures of the report, as SVG that an HTML page holds inline."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compile.gate.limits import LIMITS
from compile.gate.result import GateResult
from compile.report.latency import Timing
from edge.bundle.manifest import Precision
from training.evaluation.plots import axes_of, confusion_figure
from training.evaluation.scenes import RECALL_AT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEAREST = 1e-7  # float32 tells no two cosines apart that are nearer to 1


def svg(figure: Figure) -> str:
    """The figure as an <svg> element, equal for equal figures."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "remoteclip"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def latency_figure(timings: Mapping[Precision, Timing]) -> Figure:
    """Every call of every variant: median, quartiles, 5 and 95 percent."""
    timing = next(iter(timings.values()))
    figure, axes = axes_of(7.0, 1.2 + 0.55 * len(timings))
    names = list(timings)[::-1]
    for row, name in enumerate(names):
        low, first, median, third, high = (timings[name].milliseconds(p) for p in (5, 25, 50, 75, 95))
        axes.hlines(row, low, high, color="C0", linewidth=1)
        axes.hlines(row, first, third, color="C0", linewidth=9, alpha=0.5)
        axes.plot(median, row, "|", color="black", markersize=14)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(left=0)
    axes.set(xlabel="milliseconds", title=f"{timing.task}, n = {len(timing.seconds)}")
    axes.grid(axis="x", alpha=0.3)
    return figure


def cosine_figure(gates: Mapping[Precision, GateResult]) -> Figure:
    """Share of images and of places whose embedding is at least so near to the reference's."""
    figure, axes = axes_of()
    for number, (name, result) in enumerate(gates.items()):
        for what, values, style in (("images", result.cosine, "-"), ("places", result.place_cosine, "--")):
            if len(values):
                apart = np.sort(np.maximum(1 - values.astype(np.float64), _NEAREST))
                share = np.arange(1, len(apart) + 1) / len(apart)
                axes.step(apart, share, style, where="post", color=f"C{number}", label=f"{name}, {what}")
        axes.axvline(1 - LIMITS[name].cosine, color=f"C{number}", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set(
        xlabel="1 - cosine (dotted: the mean that is allowed)",
        ylabel="share",
        title="embeddings beside the checkpoint's",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def count_figure(gates: Mapping[Precision, GateResult]) -> Figure | None:
    """Counting error by class, of the checkpoint and of every variant; None for a set without objects."""
    first = next(iter(gates.values()))
    if first.truth is None or first.counted_reference is None:
        return None
    bars = {"checkpoint": first.counted_reference}
    bars |= {name: result.counted for name, result in gates.items() if result.counted is not None}
    totals = first.truth.sum(axis=0)
    labels = [f"{name} ({total})" for name, total in zip(first.names, totals, strict=True)]
    values = {name: np.abs(counted - first.truth).mean(axis=0) for name, counted in bars.items()}
    return _bars(values, labels, "mean absolute error", "counting, by class (true number in all)")


def recall_figure(gates: Mapping[Precision, GateResult]) -> Figure | None:
    """The six recalls; None for a set without sentences."""
    first = next(iter(gates.values()))
    if first.hits_reference is None:
        return None
    values = {"checkpoint": first.hits_reference.mean(axis=0)}
    values |= {name: result.hits.mean(axis=0) for name, result in gates.items() if result.hits is not None}
    labels = [f"{way} R@{k}" for way in ("image to text", "text to image") for k in RECALL_AT]
    return _bars(values, labels, "recall", f"retrieval over {len(first.hits_reference)} images")


def prompts_figure(name: Precision, result: GateResult) -> Figure | None:
    """Which prompt the variant gives the places of the reference to; None where there is no choice."""
    if len(result.names) < 2 or not result.confusion.any():
        return None
    figure = confusion_figure(
        result.confusion, result.names, f"places by prompt: {name} beside the checkpoint"
    )
    figure.axes[0].set(xlabel=f"by {name}", ylabel="by the checkpoint (how many)")
    figure.axes[1].set_ylabel("percent of the checkpoint's")
    return figure


def _bars(values: Mapping[str, np.ndarray], labels: list[str], unit: str, title: str) -> Figure:
    figure, axes = axes_of(max(6.0, 1.5 + 0.75 * len(labels)), 4.2)
    width = 0.8 / len(values)
    places = np.arange(len(labels))
    for number, (name, heights) in enumerate(values.items()):
        colour = "0.6" if number == 0 else f"C{number - 1}"
        axes.bar(places + (number - (len(values) - 1) / 2) * width, heights, width, label=name, color=colour)
    axes.set_xticks(places, labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set(ylabel=unit, title=title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
