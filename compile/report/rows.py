"""The rows of the table that a compilation ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data
from rich.table import Table

from compile.gate.result import GateResult
from compile.report.latency import Timing
from edge.bundle.load import Bundle
from edge.bundle.manifest import Gate, Precision

COLUMNS = ("model", "MB", "p50 ms", "p95 ms", "images/s", "cosine", "counting error", "mean recall", "gate")
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the table; None is what was not measured.

    name: such as int8, or whatever was distilled; size: bytes of the image graph with all of its weights;
    timing: of the image graph; cosine: mean over images, with the reference's embeddings; count_mae,
    mean_recall: on the probe set; verdict: of the gate.
    """

    name: str
    size: int | None = None
    timing: Timing | None = None
    cosine: float | None = None
    count_mae: float | None = None
    mean_recall: float | None = None
    verdict: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as text, by COLUMNS."""
        timed = self.timing
        return (
            self.name,
            _text(None if self.size is None else self.size / 1e6, "{:.1f}"),
            _text(None if timed is None else timed.milliseconds(50), "{:.1f}"),
            _text(None if timed is None else timed.milliseconds(95), "{:.1f}"),
            _text(None if timed is None else timed.images_per_second, "{:.1f}"),
            _text(self.cosine, "{:.4f}"),
            _text(self.count_mae, "{:.3f}"),
            _text(self.mean_recall, "{:.1%}"),
            self.verdict or _NOTHING,
        )

    def as_json(self) -> dict[str, Any]:
        """The row as plain data; times in milliseconds."""
        timed = self.timing
        return {
            "name": self.name,
            "bytes": self.size,
            "p50_ms": None if timed is None else timed.milliseconds(50),
            "p95_ms": None if timed is None else timed.milliseconds(95),
            "images_per_second": None if timed is None else timed.images_per_second,
            "cosine": self.cosine,
            "count_mae": self.count_mae,
            "mean_recall": self.mean_recall,
            "verdict": self.verdict,
        }


def bundle_rows(
    bundle: Bundle, gates: Mapping[Precision, GateResult], timings: Mapping[Precision, Timing]
) -> tuple[Row, ...]:
    """The checkpoint, as the gate's reference, and every variant of the bundle.

    gates, timings: of the variants that were measured or timed.
    """
    records = {precision: result.record() for precision, result in gates.items()}
    reference = [_reference(next(iter(records.values())))] if records else []
    return (
        *reference,
        *(_variant(bundle, name, records.get(name), timings.get(name)) for name in bundle.manifest.variants),
    )


def graph_bytes(bundle: Bundle, precision: Precision) -> int:
    """Bytes of a variant's graph and of the files that its weights lie in, which variants may share."""
    path = bundle.file(bundle.manifest.variants[precision])
    model = onnx.load(str(path), load_external_data=False)
    outside = {
        ExternalDataInfo(tensor).location for tensor in model.graph.initializer if uses_external_data(tensor)
    }
    return path.stat().st_size + sum(bundle.file(name).stat().st_size for name in outside)


def summary_table(rows: Sequence[Row], title: str) -> Table:
    """The rows for a terminal."""
    table = Table(title=title)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("model", "gate") else "right")
    for row in rows:
        table.add_row(*row.cells())
    return table


def _reference(gate: Gate) -> Row:
    recall = gate.mean_recall_reference
    return Row("checkpoint (torch)", None, None, 1.0, gate.count_mae_reference, recall, "reference")


def _variant(bundle: Bundle, name: Precision, gate: Gate | None, timing: Timing | None) -> Row:
    size = graph_bytes(bundle, name)
    if gate is None:
        return Row(name, size, timing)
    verdict = "passed" if gate.passed else "FAILED"
    return Row(name, size, timing, gate.cosine_mean, gate.count_mae, gate.mean_recall, verdict)


def _text(value: float | None, form: str) -> str:
    return _NOTHING if value is None else form.format(value)
