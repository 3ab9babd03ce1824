"""The table for a reader."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.faults.fault import Row

COLUMNS = ("expected", "received", "lost", "double", "copies", "cut", "restarts", "recovery s", "slowest s")
NOTES = """\
expected    raises and clears of an uninterrupted run on the same frames
received    those of them that the control room has after dropping repeated event_ids
double      raises and clears told twice, or never expected, after that
copies      deliveries that the control room dropped by their event_id
cut         alerts ended as `restart` or `stopped` and raised again, where nothing is left to resume them
recovery    from the end of the fault (or the kill) to the next event, median and slowest; the scene has ten
            a second"""


def print_table(rows: Sequence[Row]) -> None:
    """Every row, the sum, then the problems."""
    table = Table(box=box.SIMPLE)
    table.add_column("fault", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    table.add_column("")
    for row in rows:
        if row.skipped:
            table.add_row(row.fault, *[""] * len(COLUMNS), "skipped", style="dim")
            continue
        numbers = (row.expected, row.received, row.lost, row.doubled, row.copies, row.pairs, row.restarts)
        seconds = ["" if value is None else f"{value:.1f}" for value in (row.recovery_s, row.slowest_s)]
        table.add_row(row.fault, *map(str, numbers), *seconds, "ok" if row.passed else "FAILED")
    flown = [row for row in rows if not row.skipped]
    table.add_section()
    sums = [sum(getattr(row, name) for row in flown) for name in _SUMMED]
    table.add_row(f"{len(flown)} kinds", *map(str, sums), "", "", "")
    console = Console(width=160)
    console.print(table)
    console.print(NOTES, markup=False, highlight=False)
    for row in rows:
        for line in [*row.problems, *([f"skipped: {row.skipped}"] if row.skipped else [])]:
            console.print(f"{row.fault}: {line}", markup=False, highlight=False)


_SUMMED = ("expected", "received", "lost", "doubled", "copies", "pairs", "restarts")
