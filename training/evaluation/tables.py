"""Reports as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from training.evaluation.count import CountReport
from training.evaluation.scenes import RetrievalReport, ZeroShotReport


def count_table(reports: Sequence[CountReport]) -> Table:
    """Counting by set and class."""
    table = Table(
        "set", "split", "n", "class", "threshold", "MAE", "95%", "exact", "counted", "true", title="Counting"
    )
    for report in reports:
        for name, c in report.classes.items():
            table.add_row(
                report.dataset,
                report.split,
                str(report.n),
                name,
                f"{c.threshold:.2f}",
                f"{c.mae:.2f}",
                f"{c.mae_low:.2f}-{c.mae_high:.2f}",
                f"{c.exact:.0%}",
                str(c.total),
                str(c.truth),
            )
    return table


def zeroshot_table(reports: Sequence[ZeroShotReport]) -> Table:
    """Zero-shot classification by set."""
    table = Table("set", "n", "classes", "top-1", "95%", title="Zero-shot")
    for r in reports:
        table.add_row(
            r.dataset, str(r.n), str(r.classes), f"{r.top1:.1%}", f"{r.top1_low:.1%}-{r.top1_high:.1%}"
        )
    return table


def retrieval_table(reports: Sequence[RetrievalReport]) -> Table:
    """Retrieval by set."""
    table = Table("set", "split", "n", "mean recall", "i2t 1/5/10", "t2i 1/5/10", title="Retrieval")
    for r in reports:
        ways = (" / ".join(f"{r.recalls[f'{way}_r{k}']:.1%}" for k in (1, 5, 10)) for way in ("i2t", "t2i"))
        table.add_row(r.dataset, r.split, str(r.n), f"{r.mean_recall:.1%}", *ways)
    return table
