"""The tables for a reader."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.fleet.results import Far, Files, Flood, Step, Storm
from benchmarks.fleet.run import Result


def print_tables(result: Result) -> None:
    """Every part that was flown, and what broke first."""
    console = Console(width=150, highlight=False)
    console.print(result.title, markup=False)
    for title, columns, rows in (
        ("connections", _STORM, [_storm(row) for row in result.storms]),
        ("alerts, ramped up", _STEP, [_step(row) for row in result.steps]),
        ("what a control room gets at once", _FLOOD, [_flood(row) for row in result.floods]),
        ("a control room far away", _FAR, [_far(row) for row in result.far]),
        ("file descriptors", _FILES, [_files(row) for row in result.files]),
    ):
        if rows:
            table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE)
            for place in range(1, len(columns)):
                table.columns[place].justify = "right"
            for row in rows:
                table.add_row(*row)
            console.print(table)
    for line in result.conclusions:
        console.print(line, markup=False)


_STORM = ("", "online", "half s", "95% s", "all s", "tries", "peak tries/s", "broker CPU s", "broker MiB")
_STEP = (
    "alerts/s", "received/s", "messages/s", "p50 ms", "p95 ms", "p99 ms", "generator p99 ms",
    "cores: broker", "generator", "room", "machine", "MiB", "waiting", "missing", "",
)  # fmt: skip
_FLOOD = ("", "away s", "sent", "got", "MiB", "in s", "events missing", "broker MiB", "live p99 ms")
_FAR = ("round trip", "sent/s", "got/s", "queue is full after")
_FILES = ("limit", "drones", "online", "back after", "the broker says")


def _storm(row: Storm) -> Sequence[str]:
    moments = [_seconds(each) for each in (row.half_s, row.most_s, row.all_s)]
    online = f"{row.online} of {row.devices}"
    return (
        row.what,
        online,
        *moments,
        f"{row.tries}",
        f"{row.peak}",
        f"{row.cpu_s:.2f}",
        f"{row.rss_mib:.0f}",
    )


def _step(row: Step) -> Sequence[str]:
    latencies = [f"{each:.1f}" for each in (row.p50_ms, row.p95_ms, row.p99_ms, row.generator_ms)]
    cores = [
        f"{each:.2f}" for each in (row.broker_cores, row.generator_cores, row.room_cores, row.machine_cores)
    ]
    numbers = (f"{row.rss_mib:.0f}", f"{row.queued}", f"{row.missing}")
    rates = (f"{row.offered:,.0f}", f"{row.received:,.0f}", f"{row.messages:,.0f}")
    return (*rates, *latencies, *cores, *numbers, row.broke)


def _flood(row: Flood) -> Sequence[str]:
    numbers = (f"{row.away_s:.0f}", f"{row.sent:,}", f"{row.got:,}", f"{row.mib:.1f}", f"{row.seconds:.2f}")
    return (row.what, *numbers, f"{row.missing:,}", f"{row.broker_mib:.0f}", f"{row.live_ms:.1f}")


def _far(row: Far) -> Sequence[str]:
    full = "keeps up" if row.full_s is None else f"{row.full_s:.0f} s"
    return (f"{row.round_trip_ms:.0f} ms", f"{row.sent:,.0f}", f"{row.got:,.0f}", full)


def _files(row: Files) -> Sequence[str]:
    return (f"{row.limit}", f"{row.devices}", f"{row.online}", _seconds(row.recovered_s) + " s", row.said)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"
