"""Reports as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from training.evaluation.accuracy import AccuracyReport, Value
from training.evaluation.count import CountReport
from training.evaluation.goals import Figure
from training.evaluation.localisation import Interval, LocalisationReport
from training.evaluation.operating import Size
from training.evaluation.remotecount import RemoteCountReport
from training.evaluation.scenes import RetrievalReport, ZeroShotReport


def count_table(reports: Sequence[CountReport]) -> Table:
    """Counting by set and class, and by how many there are."""
    table = Table(
        "set", "n", "class", "threshold", "MAE", "95%", "exact", "within 1", "exact 1-10", "counted", "true"
    )
    notes: list[str] = []
    for report in reports:
        for name, c in report.classes.items():
            source = {"validation": "", "other classes": "*", "null bank": "°"}[c.threshold_from]
            table.add_row(
                f"{report.dataset} {report.split}",
                str(report.n),
                name,
                f"{c.threshold:.2f}{source}",
                f"{c.mae:.2f}",
                f"{c.mae_low:.2f}-{c.mae_high:.2f}",
                f"{c.exact:.0%}",
                f"{c.within_one:.0%}",
                "-" if c.exact_1_10 is None else f"{c.exact_1_10:.0%} of {c.n_1_10}",
                str(c.total),
                str(c.truth),
            )
        table.add_section()
        for number, bucket in report.buckets.items():
            table.add_row(
                f"{report.dataset} {report.split}",
                str(bucket.n),
                f"true number {number}",
                "",
                f"{bucket.mae:.2f}",
                "",
                f"{bucket.exact:.0%}",
                f"{bucket.within_one:.0%}",
            )
        table.add_section()
        notes += _notes(report)
    table.title, table.caption = "Counting", "\n".join(notes)
    return table


def localisation_table(reports: Sequence[LocalisationReport]) -> Table:
    """Precision and recall of centres, and average precision, by set and class."""
    columns = (
        "set",
        "n",
        "class",
        "threshold",
        "precision",
        "95%",
        "recall",
        "95%",
        "off by",
        "AP50",
        "true",
    )
    table = Table(*columns, title="Localisation")
    for report in reports:
        where = f"{report.dataset} {report.split}", str(report.n)
        for name, c in report.classes.items():
            table.add_row(
                *where,
                name,
                f"{c.threshold:.2f}",
                *_share(c.precision, c.precision_interval),
                *_share(c.recall, c.recall_interval),
                "-" if c.distance is None else f"{c.distance:.1f} px",
                "-" if c.ap50 is None else f"{c.ap50:.1%}",
                str(c.truth),
            )
        table.add_section()
        table.add_row(
            *where,
            "all",
            "",
            *_share(report.precision, report.precision_interval),
            *_share(report.recall, report.recall_interval),
            "",
            "-" if report.map50 is None else f"{report.map50:.1%}",
            str(sum(c.truth for c in report.classes.values())),
            end_section=True,
        )
    return table


def remotecount_table(reports: Sequence[RemoteCountReport]) -> Table:
    """RemoteCount by set."""
    table = Table(
        "set", "pairs", "numbers", "top-1", "95%", "commonest", "top-3", "top-5", "MAE", title="RemoteCount"
    )
    for r in reports:
        table.add_row(
            f"{r.dataset} {r.split}",
            str(r.n),
            r.numbers,
            f"{r.top[0]:.1%}",
            f"{r.top1_low:.1%}-{r.top1_high:.1%}",
            f"{r.majority:.1%}",
            f"{r.top[2]:.1%}",
            f"{r.top[4]:.1%}",
            f"{r.mae:.2f}",
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


def accuracy_table(report: AccuracyReport) -> Table:
    """Every figure with its goal, a column a model, and how far the models are apart."""
    table = Table("set", "n", "figure", "goal", title="Accuracy on held-back data")
    for model in report.models:
        table.add_column(f"{model['name']} ({model['kind']})")
    several = len(report.models) > 1
    if several:
        table.add_column("difference")
    for row in report.rows:
        cells = [_goal(row.figure), *(_figure(row.figure, value) for value in row.values)]
        if several:
            cells.append("-" if row.difference is None else _number(row.figure, row.difference))
        table.add_row(row.figure.dataset, str(row.n), row.figure.label, *cells)
    notes = [
        f"{_number(row.figure, row.difference)} ({row.figure.dataset} {row.figure.label})"
        for row in (report.largest_difference(True), report.largest_difference(False))
        if row is not None and row.difference is not None
    ]
    if notes:
        table.caption = f"largest differences: {' and '.join(notes)}"
    if report.same_counts is not None:
        table.caption = f"{table.caption}; {report.same_counts:.1%} of {report.pairs} counts are the same"
    return table


def _notes(report: CountReport) -> list[str]:
    notes = [f"{report.dataset}: {report.n} images, {_input(report.image_size)}"]
    origins = {c.threshold_from for c in report.classes.values()}
    if "other classes" in origins:
        notes.append("* not shown on validation: the middle of the other classes' thresholds")
    if "null bank" in origins:
        notes.append("° default threshold, from the bundle's null bank")
    if report.limited:
        notes.append(
            f"{report.dataset}: in {report.limited} images every place that the model gives was counted:"
            " there may be more things than it can show"
        )
    return notes


def _input(size: Size | None) -> str:
    return "the model input that suits each frame" if size is None else f"model input {size[0]}x{size[1]}"


def _share(value: float | None, interval: Interval | None) -> tuple[str, str]:
    if value is None or interval is None:
        return "-", ""
    return f"{value:.1%}", f"{interval[0]:.0%}-{interval[1]:.0%}"


def _number(figure: Figure, value: float) -> str:
    return f"{value:.1%}" if figure.share else f"{value:.2f}"


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{'at most' if figure.lower else 'at least'} {_number(figure, figure.goal)}"


def _figure(figure: Figure, value: Value | None) -> str:
    if value is None:
        return "-"
    text = _number(figure, value.value)
    if value.low is not None and value.high is not None:
        text += f" ({_number(figure, value.low)}-{_number(figure, value.high)})"
    reached = figure.reached(value.value)
    return text if reached is None else f"{text} {'reached' if reached else 'missed'}"
