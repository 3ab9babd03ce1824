"""The picture of a run: every contender's frame time, and what the daemon's is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compile.bench.measured import Measured, Result
from compile.bench.report import STAGE
from compile.bench.spec import FLAT_OUT, PACED
from compile.bench.targets import ratios
from compile.bench.timing import Quartiles
from training.errors import require_extra
from training.evaluation.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _THEIRS = "#1b6ca8", "#b8b8b8"


def save_plot(measured: Measured, path: Path) -> None:
    """Write it as PNG, SVG or PDF. Raises MissingExtra without matplotlib, OSError."""
    require_extra("train", "matplotlib")
    from matplotlib.figure import Figure

    results = [r for r in measured.results if r.kind != "ceiling" and r.task != PACED]
    figure = Figure((11, 2.2 + 0.24 * len(results)), layout="constrained")
    bars, stages = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_bars(bars, results)
    _draw_stages(stages, [r for r in results if r.kind == "daemon" and r.task == FLAT_OUT])
    figure.suptitle(measured.machine.get("cpu", "").split(";")[0])
    save_figure(figure, path)


def _draw_bars(axes: Axes, results: list[Result]) -> None:
    labels = [f"{r.clip}: {r.subject}" + ("" if r.kind == "daemon" else f", {r.task}") for r in results]
    # Not median gaps: frames that are worked on side by side come out in pairs.
    medians = [r.typical_ms for r in results]
    beyond = [max(0.0, r.frame.p95_ms - r.typical_ms) for r in results]
    ours_at: dict[str, Result] = {}
    for result in results:
        if (result.kind, result.task) == ("daemon", FLAT_OUT):
            ours_at.setdefault(result.clip, result)
    colours = [_OURS if r.kind == "daemon" else _THEIRS for r in results]
    axes.barh(
        range(len(results)), medians, color=colours, xerr=[[0.0] * len(results), beyond], ecolor="#555555"
    )
    for row, median in enumerate(medians):
        ours = ours_at.get(results[row].clip)
        times = "" if ours is None else f", {Quartiles.of(ratios(results[row], ours)).median:.1f}x"
        axes.text(median, row, f" {median:.1f}{times}", va="center", ha="left", fontsize=7)
    axes.set_yticks(range(len(results)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(
        "milliseconds a frame (median turn, times ours within rounds; line: to the 95th percentile)"
    )


def _draw_stages(axes: Axes, daemons: list[Result]) -> None:
    left = [0.0] * len(daemons)
    names = [name for name in (daemons[0].spreads if daemons else {}) if name.startswith(STAGE)]
    for name in names:
        widths = [r.spreads[name].p50_ms for r in daemons]
        axes.barh(range(len(daemons)), widths, left=left, label=name.removeprefix(STAGE))
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.plot(
        [r.typical_ms for r in daemons], range(len(daemons)), "k|", markersize=14, label="frame to frame"
    )
    axes.set_yticks(range(len(daemons)), [f"{r.clip}\n{r.variant}" for r in daemons], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("median milliseconds; stages that run side by side add up to more than a frame")
    if daemons:
        axes.legend(fontsize=7)
