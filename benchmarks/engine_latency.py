"""Engines and preprocessing, side by side on this machine: medians, percentiles and ratios.

    python benchmarks/engine_latency.py [--bundle FOLDER] [--rounds N] [--threads N] [--prompts N] [--json]

The contenders take turns inside each round, so that whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from edge.bundle.load import Bundle, load_bundle
from edge.engines import ENGINE_NAMES, create_image_engine
from edge.frames import I420Image, RgbImage
from edge.letterbox import letterbox_native, letterbox_opencv
from edge.native import LETTERBOX, UNAVAILABLE
from edge.system import cpu_fact
from firmware_cfg.errors import EngineError, MissingExtra, RemoteclipError

FRAME_SIZES = ((1280, 720), (1920, 1080), (3840, 2160))
WARM_UP = 3

Seconds = npt.NDArray[np.float64]
Row = dict[str, float | str | int]


def take_turns(
    contenders: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Seconds of each call, by contender."""
    for call in contenders.values():
        for _ in range(WARM_UP):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def rows_of(task: str, seconds: Mapping[str, Seconds]) -> list[Row]:
    """Percentiles in milliseconds; `ratio` is the median over the first contender's."""
    first = float(np.median(next(iter(seconds.values())))) if seconds else 0.0
    rows: list[Row] = []
    for name, values in seconds.items():
        p50, p95, p99 = (round(float(value) * 1e3, 3) for value in np.percentile(values, (50, 95, 99)))
        ratio = round(float(np.median(values)) / first, 2)
        rows.append(
            {
                "task": task,
                "with": name,
                "n": len(values),
                "p50_ms": p50,
                "p95_ms": p95,
                "p99_ms": p99,
                "ratio": ratio,
            }
        )
    return rows


def time_preprocessing(tile: tuple[int, int], rounds: int) -> list[Row]:
    """A decoder's planes, or an RGB image, to the model tile."""
    ways = {"native": letterbox_native} if LETTERBOX is not None else {}
    ways["opencv"] = letterbox_opencv
    random = np.random.default_rng(0)
    rows: list[Row] = []
    for width, height in FRAME_SIZES:
        y = random.integers(16, 236, (height, width), dtype=np.uint8)
        u, v = random.integers(16, 240, (2, height // 2, width // 2), dtype=np.uint8)
        i420 = I420Image(y, u, v)
        rgb = RgbImage(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for kind, image in (("I420", i420), ("RGB", rgb)):
            calls = {name: partial(way, image, *tile) for name, way in ways.items()}
            task = f"{kind} {width}x{height} to {tile[0]}x{tile[1]}"
            rows += rows_of(task, take_turns(calls, rounds))
    return rows


def time_engines(
    bundle: Bundle, prompts: int, threads: int | None, rounds: int, notes: list[str]
) -> list[Row]:
    """One tile through the image graph, at each image size of the bundle, in each precision it has."""
    random = np.random.default_rng(0)
    lines = random.standard_normal((prompts, bundle.manifest.row_width)).astype(np.float32)
    lines[:, bundle.manifest.embedding_width :] = 0.0
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    bias = np.zeros(prompts, np.float32)
    rows: list[Row] = []
    for width, height in bundle.manifest.image_sizes:
        tile = random.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        engines = {}
        for name in ENGINE_NAMES:
            for precision in bundle.manifest.variants:
                try:
                    engines[f"{name} {precision}"] = create_image_engine(
                        bundle, name, precision, (width, height), threads
                    )
                except (EngineError, MissingExtra) as error:
                    notes.append(f"{name} {precision}: {error}")
        calls = {name: partial(engine.infer, tile, lines, bias) for name, engine in engines.items()}
        rows += rows_of(f"image graph {width}x{height}, {prompts} prompts", take_turns(calls, rounds))
        for engine in engines.values():
            engine.close()
    return rows


def print_table(rows: list[Row], machine: str, notes: list[str]) -> None:
    """The rows for a reader."""
    table = Table(title=machine, box=box.SIMPLE)
    for column in ("task", "with"):
        table.add_column(column, no_wrap=True)
    for column in ("p50 ms", "p95 ms", "p99 ms", "ratio", "n"):
        table.add_column(column, justify="right")
    last = None
    for row in rows:
        if last is not None and row["task"] != last:
            table.add_section()
        task = "" if row["task"] == last else str(row["task"])
        table.add_row(task, *(str(row[key]) for key in ("with", "p50_ms", "p95_ms", "p99_ms", "ratio", "n")))
        last = row["task"]
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, markup=False)


def main() -> int:
    """Run the benchmark; exit code 1 when the bundle cannot be loaded."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--bundle", default="default", help="bundle folder (default: the shipped one)")
    parser.add_argument("--rounds", type=int, default=50, help="timed calls of each contender (default 50)")
    parser.add_argument(
        "--threads", type=int, default=None, help="CPU threads of the engines (default: theirs)"
    )
    parser.add_argument("--prompts", type=int, default=16, help="prompt rows, 1 to 256 (default 16)")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    options = parser.parse_args()
    if options.rounds < 1 or not 1 <= options.prompts <= 256:
        parser.error("--rounds must be at least 1, --prompts 1 to 256")
    try:
        bundle = load_bundle(options.bundle)
    except RemoteclipError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    notes = [] if LETTERBOX is not None else [f"native kernel {UNAVAILABLE}"]
    rows = time_preprocessing(bundle.manifest.image_sizes[0], options.rounds)
    rows += time_engines(bundle, options.prompts, options.threads, options.rounds, notes)
    machine = cpu_fact().value
    if options.json:
        print(
            json.dumps({"machine": machine, "bundle": bundle.manifest_sha256, "rows": rows, "notes": notes})
        )
    else:
        print_table(rows, machine, notes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
