"""What a gate found, as a table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from edge.bundle.manifest import Gate, Precision

GATE_COLUMNS = (
    "variant",
    "cosine, mean (least)",
    "places: cosine, mean (least)",
    "missing",
    "other prompt",
    "counting error",
    "counts changed",
    "mean recall",
    "blind pairs",
    "gate",
)


def gate_cells(name: str, gate: Gate) -> tuple[str, ...]:
    """One variant's measurements as text, by GATE_COLUMNS; "-" is what the set has nothing for."""
    return (
        name,
        f"{gate.cosine_mean:.4f} ({gate.cosine_min:.4f})",
        _pair(gate.place_cosine_mean, gate.place_cosine_min, "{:.4f} ({:.4f})"),
        _pair(gate.places_missing, 0.0, "{:.1%}"),
        _pair(gate.prompt_confusion, 0.0, "{:.1%}"),
        _pair(gate.count_mae_reference, gate.count_mae, "{:.3f} to {:.3f}"),
        _pair(gate.counts_changed, 0.0, "{:.1%}"),
        _pair(gate.mean_recall_reference, gate.mean_recall, "{:.2%} to {:.2%}"),
        _pair(gate.pair_accuracy_reference, gate.pair_accuracy, "{:.1%} to {:.1%}"),
        "passed" if gate.passed else "FAILED",
    )


def _pair(first: float | None, second: float | None, form: str) -> str:
    return "-" if first is None or second is None else form.format(first, second)


def gate_table(records: Mapping[Precision, Gate]) -> Table:
    """The variants for a terminal; one at least."""
    first = next(iter(records.values()))
    seen = f"{first.images} images, {first.places} places, {first.counts} counts"
    table = Table(title=f"{first.probe}: {seen}, {first.captioned} images with sentences; {first.engine}")
    for column in GATE_COLUMNS:
        table.add_column(column, justify="left" if column in ("variant", "gate") else "right")
    for name, record in records.items():
        table.add_row(*gate_cells(name, record))
    return table
