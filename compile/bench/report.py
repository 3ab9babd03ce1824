"""The tables of a run."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from compile.bench.contenders.ceilings import COPY, FLOAT_PRODUCT, INT8_PRODUCT, MOVED, OPERATIONS
from compile.bench.measured import Measured
from compile.bench.spec import FLAT_OUT, FRAME, PACED, TURN
from compile.bench.targets import overhead_percent, ratios, rest_percent, targets
from compile.bench.timing import Quartiles

WIDTH = 140
STAGE = "stage "


def print_report(measured: Measured, console: Console) -> None:
    """All tables that the run has something for."""
    for name, fact in {**measured.machine, "versions": _listed(measured.versions)}.items():
        console.print(f"{name}: {fact}", markup=False, highlight=False, soft_wrap=True)
    for table in (
        *(_clip_table(measured, clip) for clip in measured.clips),
        _stage_table(measured),
        _start_table(measured),
        _ceiling_table(measured),
        *(_rows_table(part, rows) for part, rows in measured.rows.items()),
        _target_table(measured),
    ):
        if table.row_count:
            console.print(table)
    for fact in measured.facts:
        console.print(fact, markup=False, highlight=False, soft_wrap=True)
    for note in measured.notes:
        console.print(f"left out: {note}", markup=False, highlight=False, soft_wrap=True)


def report_console(console: Console) -> Console:
    """Into a file or pipe a table is printed whole instead of folded to 80 columns."""
    return console if console.is_terminal else Console(width=WIDTH)


def _clip_table(measured: Measured, clip: str) -> Table:
    table = _table(
        f"{clip}, {measured.clips[clip]}: milliseconds a frame",
        ("contender", "task"),
        ("p50", "p95", "p99", "best turn", "frames/s", "CPU ms", "peak MiB", "over ours", "n"),
    )
    results = [r for r in measured.results if r.clip == clip and r.kind != "ceiling"]
    ours = next((r for r in results if (r.kind, r.task) == ("daemon", FLAT_OUT)), None)
    for result in results:
        spread = result.frame
        latency = result.task == PACED
        table.add_row(
            result.subject,
            f"latency at {PACED}" if latency else result.task,
            *(f"{value:.2f}" for value in (spread.p50_ms, spread.p95_ms, spread.p99_ms)),
            f"{min(result.turns_ms):.2f}" if result.turns_ms else "",
            ""
            if latency
            else f"{1e3 / (result.typical_ms if TURN in result.spreads else spread.mean_ms):.1f}",
            "" if result.cpu_ms is None else f"{result.cpu_ms:.1f}",
            f"{result.memory['peak']:.0f}" if result.memory else "",
            "" if ours is None or latency else f"{Quartiles.of(ratios(result, ours)).median:.2f}x",
            str(spread.n),
        )
    return table


def _stage_table(measured: Measured) -> Table:
    daemons = [r for r in measured.results if r.kind == "daemon" and r.task == FLAT_OUT]
    columns = [f"{r.clip} {r.variant}" for r in daemons]
    table = _table("The daemon's stages, median milliseconds", ("stage",), columns)
    stages = [name for name in (daemons[0].spreads if daemons else {}) if name.startswith(STAGE)]
    for stage in stages:
        table.add_row(stage.removeprefix(STAGE), *(f"{r.spreads[stage].p50_ms:.2f}" for r in daemons))
    if daemons:
        alone = [measured.find("engine", f"openvino {r.variant}", FRAME, r.clip) for r in daemons]
        table.add_section()
        table.add_row("frame to frame, mean over a turn", *(f"{r.typical_ms:.2f}" for r in daemons))
        table.add_row("the engine alone", *(f"{e.frame.p50_ms:.2f}" if e else "" for e in alone))
        shares = (
            f"{overhead_percent(r, e).median:.1f}%" if e else "" for r, e in zip(daemons, alone, strict=True)
        )
        table.add_row("outside the engine", *shares)
        rests = [rest_percent(r) for r in daemons]
        table.add_row("engine at rest", *("" if rest is None else f"{rest}%" for rest in rests))
    return table


def _start_table(measured: Measured) -> Table:
    table = _table("From the start of a process to its first result", ("contender",), ("first s", "warm s"))
    for start in measured.start_ups:
        warm = "" if start.warm_s is None else f"{start.warm_s:.2f}"
        table.add_row(start.subject, f"{start.first_s:.2f}", warm)
    return table


def _ceiling_table(measured: Measured) -> Table:
    table = _table("What this machine can do", ("what",), ("p50 ms", "reached"))
    for task, amount, unit in (
        (FLOAT_PRODUCT, OPERATIONS, "Gop/s"),
        (INT8_PRODUCT, OPERATIONS, "Gop/s"),
        (COPY, MOVED, "GB/s"),
    ):
        if result := measured.find("ceiling", "", task):
            table.add_row(
                task, f"{result.frame.p50_ms:.2f}", f"{amount / result.frame.p50_ms / 1e6:.1f} {unit}"
            )
    for precision, roof in measured.rooflines.items():
        work = f"{roof['operations'] / 1e9:.2f} Gop, {roof['least_ms']:.2f} ms at best"
        what = f"the image graph, {precision}: {work}"
        table.add_row(what, f"{roof['measured_ms']:.2f}", f"{100 * roof['fraction']:.0f}% of the roofline")
    return table


def _rows_table(part: str, rows: Iterable[dict[str, object]]) -> Table:
    table = _table(part, ("task", "with"), ("p50 ms", "p95 ms", "p99 ms", "ratio", "n"))
    last = None
    for row in rows:
        task = str(row["task"])
        if last not in (None, task):
            table.add_section()
        numbers = (f"{row[name]:.3f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
        table.add_row(
            "" if task == last else task, str(row["with"]), *numbers, f"{row['ratio']:.2f}", str(row["n"])
        )
        last = task
    return table


def _target_table(measured: Measured) -> Table:
    table = _table("To reach", ("what",), ("measured", "quartiles", "to reach", ""))
    for target in targets(measured):
        sign = "at least" if target.at_least else "at most"
        table.add_row(
            target.what,
            f"{target.value:g} {target.unit}",
            " to ".join(f"{value:g}" for value in target.quartiles or ()),
            f"{sign} {target.limit:g} {target.unit}",
            "met" if target.met else "NOT met",
        )
    return table


def _table(title: str, left: Iterable[str], right: Iterable[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
