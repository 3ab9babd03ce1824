"""The report of `eval dense` as a table for people."""

from __future__ import annotations

from rich.table import Table

from training.evaluation.dense import OTHERS, DenseReport
from training.evaluation.dense_overlap import ClassOverlap, Overlaps


def dense_table(report: DenseReport) -> Table:
    """IoU by class, before and after where there is a rectification, then the means, counted either way."""
    way = report.chosen
    columns = ["class", "stands for", "images", "of the pixels", "found"]
    columns += ["IoU before", "95%"] if way.before else []
    table = Table(*columns, "IoU", "95%", title=f"{report.dataset} {report.split}, {report.n} images")
    for name, after in way.after.classes.items():
        of = ", ".join(report.prompts.get(name, report.other_classes)) or "everything else"
        cells = [name, of, str(after.images), f"{after.truth:.1%}", f"{after.found:.1%}"]
        if way.before:
            cells += _cells(way.before.classes[name])
        table.add_row(*cells, *_cells(after))
    table.add_section()
    for others in OTHERS:
        one = report.ways[others]
        mark = " *" if others == report.others else ""
        cells = [f"mean, others: {others}{mark}", "", str(report.n), "", ""]
        table.add_row(*cells, *(_mean(one.before) if one.before else []), *_mean(one.after))
    notes = [f"background is answered: {report.background}; {report.open_pixels:.1%} of the pixels left open"]
    if way.gain is not None:
        notes.append(f"gain {way.gain:+.4f} ({way.gain_low:+.4f} to {way.gain_high:+.4f}, paired by image)")
    if report.left_out:
        notes.append(f"{report.left_out} images left out: the model was rectified on them")
    table.caption = "\n".join(notes)
    return table


def _cells(one: ClassOverlap) -> list[str]:
    if one.iou is None:
        return ["-", ""]
    return [f"{one.iou:.3f}", f"{one.low:.3f}-{one.high:.3f}"]


def _mean(one: Overlaps) -> list[str]:
    return [f"{one.miou:.4f}", f"{one.low:.4f}-{one.high:.4f}"]
