"""The report of a compilation: what `compile bundle` ends with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from compile.bundle import Compiled
from compile.report.latency import time_variants
from compile.report.page import REPORT_NAME, write_report
from compile.report.rows import Row, bundle_rows, summary_table
from edge.system import cpu_fact


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A written report: what it is of, the rows of its table, and report.html."""

    compiled: Compiled
    rows: tuple[Row, ...]
    page: Path

    @property
    def table(self) -> Table:
        """The rows for a terminal."""
        gate = next(iter(self.compiled.gates.values())).record()
        seen = f"{gate.images} images, {gate.counts} counts, {gate.captioned} images with sentences"
        return summary_table(self.rows, f"{_title(self.compiled)}; probe set {gate.probe}: {seen}")

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        bundle = self.compiled.bundle
        return {
            "bundle": str(bundle.path),
            "manifest_sha256": bundle.manifest_sha256,
            "bytes": sum(self.compiled.sizes.values()),
            "regressions": list(bundle.manifest.regressions),
            "rows": [row.as_json() for row in self.rows],
            "report": str(self.page),
        }


def report_on(compiled: Compiled, folder: Path, engine: str = "openvino") -> Report:
    """Time the variants side by side here, and write report.html into `folder`, made if it is not there.

    A checkpoint that was distilled has its teacher in rows of its own. Raises EngineError, MissingExtra where
    a variant does not run or matplotlib is missing, OSError.
    """
    bundle = compiled.bundle
    timings = time_variants(bundle, engine)
    rows = (*_taught(compiled), *bundle_rows(bundle, compiled.gates, timings))
    timing = next(iter(timings.values()))
    facts = {
        "bundle": str(bundle.path),
        "manifest": bundle.manifest_sha256,
        "checkpoint": bundle.manifest.checkpoint_sha256,
        "size": f"{sum(compiled.sizes.values()) / 1e6:.1f} MB in {len(compiled.sizes)} files",
        "timed": f"{timing.task}; {cpu_fact().value}",
    }
    for built in compiled.ahead:
        plan = f"{built.plan_bytes / 1e6:.1f} MB in {built.seconds:.0f} s"
        facts[f"built ahead, {built.precision}"] = f"{built.library} for {built.target}: {plan}; not run here"
    notes = [f"let pass by --allow-regression: {sentence}" for sentence in bundle.manifest.regressions]
    if compiled.quantized.warning:
        notes.append(compiled.quantized.warning)
    page = folder / REPORT_NAME
    write_report(
        page,
        rows,
        compiled.gates,
        compiled.report.golden,
        timings,
        title=_title(compiled),
        facts=facts,
        notes=notes,
    )
    return Report(compiled, rows, page)


def _title(compiled: Compiled) -> str:
    manifest = compiled.bundle.manifest
    return f"{manifest.model}, compiled for {manifest.target or 'any device'}"


def _taught(compiled: Compiled) -> tuple[Row, ...]:
    if compiled.teacher is None:
        return ()
    found = compiled.teacher.record()
    recall = found.mean_recall_reference
    return (
        Row("teacher (torch)", None, None, None, found.count_mae_reference, recall, "teacher"),
        Row("distilled", None, None, found.cosine_mean, found.count_mae, found.mean_recall, "beside teacher"),
    )
