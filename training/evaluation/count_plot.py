"""The figure of a counting report: counted against true numbers, and the error by true number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.evaluation.plots import axes_of, save_figure

if TYPE_CHECKING:
    from training.evaluation.count import CountReport


def draw(report: CountReport, path: Path) -> None:
    """Write the figure. Raises MissingExtra without matplotlib, UsageError for a path that cannot be one."""
    figure, axes = axes_of(11.0, 5.0)
    figure.delaxes(axes)
    scatter, bars = figure.subplots(1, 2)
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, (2, *report.true.shape))
    for column, (name, found) in enumerate(report.classes.items()):
        shown = (report.true[:, column] > 0) | (report.counted[:, column] > 0)
        scatter.plot(
            (report.true + jitter[0])[shown, column],
            (report.counted + jitter[1])[shown, column],
            ".",
            alpha=0.6,
            label=f"{name} (MAE {found.mae:.2f})",
        )
    top = float(max(report.true.max(), report.counted.max(), 1))
    scatter.plot((0, top), (0, top), color="black", linewidth=0.8)
    scatter.set(
        xlabel="true number", ylabel="counted", title="one dot an image and class, moved a little apart"
    )
    scatter.legend(fontsize="small")
    ranges = list(report.buckets)
    bars.bar(ranges, [bucket.mae for bucket in report.buckets.values()])
    for at, bucket in enumerate(report.buckets.values()):
        bars.annotate(f"{bucket.exact:.0%} exact\nn = {bucket.n}", (at, bucket.mae), ha="center", va="bottom")
    bars.margins(y=0.2)
    bars.set(xlabel="true number", ylabel="mean absolute error", title="by the true number")
    figure.suptitle(f"{report.dataset} {report.split}: counting in {report.n} images")
    save_figure(figure, path)
