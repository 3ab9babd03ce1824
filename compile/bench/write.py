"""A run's files: the report as JSON, and the picture where matplotlib is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compile.bench.measured import Measured
from edge.files import write_atomically
from firmware_cfg.errors import MissingExtra

REPORT, PLOT = "bench.json", "bench.png"


def write_report(folder: Path, report: Mapping[str, Any], measured: Measured) -> None:
    """Write REPORT and PLOT; without matplotlib the picture is left out with a note. Raises OSError."""
    write_atomically(folder / REPORT, (json.dumps(report, indent=1) + "\n").encode())
    try:
        from compile.bench.plot import save_plot

        save_plot(measured, folder / PLOT)
    except MissingExtra as error:
        measured.note(f"{PLOT}: {error}")
