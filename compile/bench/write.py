"""A run's files: the report as JSON, the tables as text, and the picture where matplotlib is installed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from compile.bench.measured import Measured
from compile.bench.report import WIDTH, print_report
from edge.files import write_atomically
from firmware_cfg.errors import MissingExtra

REPORT, TABLES, PLOT = "bench.json", "bench.txt", "bench.png"


def write_report(folder: Path, report: Mapping[str, Any], measured: Measured) -> None:
    """Write REPORT, TABLES and PLOT; without matplotlib there is no picture, but a note. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, (json.dumps(report, indent=1) + "\n").encode())
    try:
        from compile.bench.plot import save_plot

        save_plot(measured, folder / PLOT)
    except MissingExtra as error:
        measured.note(f"{PLOT}: {error}")
    text = io.StringIO()
    print_report(measured, Console(file=text, width=WIDTH))
    # rich fills lines with spaces up to the width.
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    write_atomically(folder / TABLES, ("\n".join(lines) + "\n").encode())
