"""Reports on classifiers of whole images as tables for people."""

from __future__ import annotations

from rich.table import Table

from training.evaluation.fewshot import FewShotReport
from training.evaluation.knn import KnnReport
from training.evaluation.probe import ProbeReport


def probe_table(report: ProbeReport) -> Table:
    """A linear probe."""
    table = Table("set", "train / val / n", "classes", "rate", "decay", "val top-1", "top-1", "95%")
    table.title = "Linear probe"
    low, high = report.found.interval
    table.add_row(
        report.dataset,
        f"{report.n_train} / {report.n_val} / {report.found.n}",
        str(len(report.found.names)),
        f"{report.setting.learning_rate:.2g}",
        f"{report.setting.weight_decay:.1g}",
        f"{report.validation_top1:.1%}",
        f"{report.found.top1:.1%}",
        f"{low:.1%}-{high:.1%}",
    )
    return table


def knn_table(report: KnnReport) -> Table:
    """k-NN: the k asked for, then the one that validation chose."""
    table = Table("set", "train / val / n", "classes", "k", "val top-1", "top-1", "95%", title="k-NN")
    for k, found, note in (
        (report.k, report.found, ""),
        (report.chosen_k, report.chosen, " (chosen on validation)"),
    ):
        low, high = found.interval
        table.add_row(
            report.dataset,
            f"{report.n_train} / {report.n_val} / {found.n}",
            str(len(found.names)),
            f"{k}{note}",
            f"{report.validation[k]:.1%}",
            f"{found.top1:.1%}",
            f"{low:.1%}-{high:.1%}",
        )
    return table


def fewshot_table(report: FewShotReport) -> Table:
    """Few-shot by number of shots, zero-shot first."""
    table = Table("set", "n", "classes", "shots", "top-1", "95%", "spread of draws", title="Few-shot")
    where = report.dataset, str(report.n), str(report.classes)
    table.add_row(*where, "0", f"{report.zero_shot:.1%}", "", "")
    for k, shots in sorted(report.shots.items()):
        number = str(k) if shots.fewest == k else f"{k} (a class has {shots.fewest})"
        interval = f"{shots.top1_low:.1%}-{shots.top1_high:.1%}"
        table.add_row(*where, number, f"{shots.top1:.1%}", interval, f"{shots.spread:.1%}")
    return table
