"""report.html: one file with the table, the figures and every check, that needs nothing from the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from compile.gate.result import GateResult
from compile.gate.table import GATE_COLUMNS, gate_cells
from compile.report.figures import (
    cosine_figure,
    count_figure,
    latency_figure,
    prompts_figure,
    recall_figure,
    svg,
)
from compile.report.latency import Timing
from compile.report.rows import COLUMNS, Row
from edge.bundle.golden import GoldenCheck
from edge.bundle.manifest import Precision
from edge.files import write_atomically

REPORT_NAME = "report.html"

_STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #1c1f23 }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d9dde2; text-align: right; vertical-align: top }
th:first-child, td:first-child, td.words { text-align: left }
.failed { color: #a3151c; font-weight: 600 } .note { color: #59616b }
figure { margin: 1rem 0 } svg { max-width: 100%; height: auto }
"""


def write_report(
    path: Path,
    rows: Sequence[Row],
    gates: Mapping[Precision, GateResult],
    parity: Sequence[GoldenCheck],
    timings: Mapping[Precision, Timing],
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write the page atomically; its folder is made if it is not there.

    Args:
        path: the HTML file.
        rows: the table, see `bundle_rows`; more rows may stand in it, such as a distilled student's teacher.
        gates, timings: of the variants that were measured and timed; either may be empty.
        parity: the golden vectors on every engine, as `verify_bundle` found them.
        title, facts: what the page is about, such as the machine and the manifest's hash, by name.
        notes: sentences that must not be overlooked: warnings, regressions that were let pass.

    Raises MissingExtra without matplotlib, OSError.
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    parts += [f'<p class="failed">{escape(note)}</p>' for note in notes]
    if facts:
        parts.append(_table(("", ""), ((name, value) for name, value in facts.items()), words=True))
    parts += ["<h2>Size, speed, accuracy</h2>", _table(COLUMNS, (row.cells() for row in rows))]
    if gates:
        parts += _gates(gates)
    if timings:
        parts += ["<h2>Speed</h2>", _figure(svg(latency_figure(timings)))]
    if parity:
        parts += ["<h2>Golden vectors</h2>", _parity(parity)]
    body = "\n".join(parts)
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())


def _gates(gates: Mapping[Precision, GateResult]) -> list[str]:
    records = {name: result.record() for name, result in gates.items()}
    first = next(iter(records.values()))
    parts = [
        "<h2>What each variant lost</h2>",
        f'<p class="note">Beside the float32 checkpoint on the probe set {escape(first.probe)}:'
        f" {first.images} images, {first.places} places, {first.counts} counts,"
        f" {first.captioned} images with sentences.</p>",
        _table(GATE_COLUMNS, (gate_cells(name, record) for name, record in records.items())),
    ]
    for name, record in records.items():
        parts += [f'<p class="failed">{name}: {escape(problem)}</p>' for problem in record.problems]
        parts += [f'<p class="note">{name}: {escape(remark)}</p>' for remark in record.remarks]
    figures = [cosine_figure(gates), count_figure(gates), recall_figure(gates)]
    figures += [prompts_figure(name, result) for name, result in gates.items()]
    return parts + [_figure(svg(figure)) for figure in figures if figure is not None]


def _parity(checks: Sequence[GoldenCheck]) -> str:
    rows = (
        (
            check.engine,
            check.precision,
            f"{check.places - check.missing} of {check.places}" if check.places else "-",
            ", ".join(f"{name} {value:.2g}" for name, value in check.differences.items()),
            "; ".join(check.problems) or "ok",
        )
        for check in checks
    )
    return _table(("engine", "graph", "places", "largest differences", ""), rows, words=True)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], words: bool = False) -> str:
    """An HTML table; `words` aligns every cell as text."""
    lines = ["<table>"]
    if any(head):
        lines.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>")
    for row in rows:
        cells = [_cell(cell, words) for cell in row]
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _cell(text: str, words: bool) -> str:
    kinds = [*(["words"] if words else []), *(["failed"] if text == "FAILED" else [])]
    attribute = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{attribute}>{escape(text)}</td>"


def _figure(drawing: str) -> str:
    return f"<figure>{drawing}</figure>"
