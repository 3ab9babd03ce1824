"""What tiling finds of small things, and what it costs: recall by size, precision, counts, milliseconds.

    python -m benchmarks.small_objects [--bundle FOLDER] [--prompts LIST] [--tiles none 2x2 ...] [--json]

The drone's own tiles, engine and lookup on annotated images: the VisDrone sample, people in the mountains
(uav_sar), AU-AIR and the Munich run of aerial_cars, none of them trained on; and aerial_cars' training
flights, which say nothing of other places. A place is right if its centre lies in the box of a thing of its
kind that no other place is matched with. Recall is told at the list's own thresholds, and again with all of
them moved by the same log-odds until the precision is that of the first contender: more tiles see more
background, and must not buy recall with false alarms. `none 1280x768` gives the model a larger tile instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.small_objects.matching import SIZES, Seen, Tally, tally
from edge.bundle.load import load_bundle
from edge.engines.pool import EnginePool
from edge.frames import Frame
from edge.letterbox import best_image_size
from edge.prompts.bank import PromptBank
from edge.prompts.build import build_prompt_bank
from edge.runtime import BundleRuntime
from edge.system import cpu_fact
from edge.tiling import Tiles, lookup_tiles, tiles_for
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import load_prompt_list
from training.data_root import data_root
from training.evaluation.frames import frame_of
from training.readers import auair, visdrone, yolo

SETS = (
    ("visdrone_sample", visdrone.read, "all", "never trained on"),
    ("uav_sar", yolo.read, "test", "never trained on"),
    ("auair", auair.read, "test", "never trained on"),
    ("aerial_cars", yolo.read, "test", "never trained on"),
    ("aerial_cars", yolo.read, "train", "seen in training: no evidence"),
)
MOVES = (0.0, *np.linspace(-1, 4, 16).tolist())
"""Log-odds that are added to every threshold."""

Arm = tuple[str, Tiles, tuple[int, int] | None]


def parse_arm(text: str) -> Arm:
    """`none`, `auto`, `3x2`, or any of them and a model size: `none 1280x768`. Raises ValueError."""
    tiles, _, size = text.partition(" ")
    wanted: Any = tiles if tiles in ("none", "auto") else _pair(tiles)
    return text, wanted, _pair(size) if size else None


def _pair(text: str) -> tuple[int, int]:
    first, second = map(int, text.split("x"))
    return first, second


def look(
    runtime: BundleRuntime, pool: EnginePool, bank: PromptBank, frame: Frame, arm: Arm
) -> tuple[Any, ...]:
    """Tiling, engine output and seconds of one frame, as the drone does it."""
    _, wanted, size = arm
    size = size or best_image_size(frame.width, frame.height, runtime.facts.image_sizes)
    engine = pool.get(size)
    tiling = tiles_for(frame.width, frame.height, size, wanted)
    marks = [time.perf_counter()]
    tiles = tiling.render(frame.image)
    marks.append(time.perf_counter())
    output = engine.infer(tiles, bank.graph_rows, bank.graph_bias)
    marks.append(time.perf_counter())
    lookup_tiles(output, bank, runtime.calibration, tiling, stride=runtime.facts.stride)
    marks.append(time.perf_counter())
    return tiling, output, tuple(np.diff(marks).tolist())


def row_of(
    arm: str, result: Tally, equal: Tally | None, seconds: npt.NDArray[np.float64], tiles: int
) -> dict[str, Any]:
    """One line of a set's table; recalls by size are None where there is no such thing."""
    by_size = np.digitize(result.size, SIZES) - 1
    recalls = [
        float(result.hit[by_size == n].mean()) if (by_size == n).any() else None
        for n in range(len(SIZES) - 1)
    ]
    return {
        "tiles": arm,
        "n": tiles,
        "recall_by_size": recalls,
        "recall": result.recall,
        "precision": result.precision,
        "mae": float(np.abs(result.errors).mean()),
        "total_error": float(result.errors.sum()) / len(result.size),
        "recall_at_equal_precision": None if equal is None else equal.recall,
        "ms": {
            name: round(float(value) * 1e3, 2)
            for name, value in zip(("tiles", "engine", "lookup"), np.median(seconds, axis=0), strict=True)
        },
    }


def measure(
    runtime: BundleRuntime, bank: PromptBank, arms: Sequence[Arm], rounds: int
) -> Iterator[dict[str, Any]]:
    """A table for each set, as it is done."""
    pool = EnginePool(runtime)
    for dataset, read, split, note in SETS:
        names, samples = read(data_root() / dataset, split)
        seen: dict[str, list[Seen]] = {arm[0]: [] for arm in arms}
        for number, sample in enumerate(samples):
            frame = frame_of(sample.path, number)
            for arm in arms:  # in turns, so that whatever else the machine does hits all of them
                looks = [look(runtime, pool, bank, frame, arm) for _ in range(rounds)]
                tiling, output, _ = looks[0]
                seconds = np.median([times for _, _, times in looks], axis=0)
                # The embeddings are most of the memory, and no match needs them.
                output = replace(output, place_embedding=output.place_embedding[:, :, :0].copy())
                seen[arm[0]].append(Seen(sample, tiling, output, tuple(seconds.tolist())))
        goal: float | None = None
        rows = []
        for name, images in seen.items():
            own = tally(images, names, runtime, bank)
            goal = own.precision if goal is None else goal
            swept = [tally(images, names, runtime, bank, move) for move in MOVES]
            fair = [t for t in swept if t.found and t.precision >= goal > 0]
            equal = max(fair, key=lambda t: t.recall, default=None)
            times = np.array([image.seconds for image in images])
            rows.append(row_of(name, own, equal, times, max(len(image.tiling.windows) for image in images)))
        sizes = np.histogram(own.size, SIZES)[0].tolist()
        yield {
            "set": f"{dataset} {split}",
            "note": note,
            "images": len(samples),
            "things": sizes,
            "rows": rows,
        }
    pool.close()


def print_table(table: dict[str, Any]) -> None:
    """One set for a reader."""
    title = f"{table['set']} ({table['note']}), {table['images']} images, {sum(table['things'])} things"
    printed = Table(title=title, box=box.SIMPLE)
    ends = [f"{low:g}-{high:g} px" for low, high in pairwise(SIZES)]
    heads = [f"{end} ({n})" for end, n in zip(ends, table["things"], strict=True)]
    for head in (
        "tiles",
        "n",
        *heads,
        "recall",
        "precision",
        "mae",
        "total",
        "recall at =",
        "ms (tiles+engine+lookup)",
    ):
        printed.add_column(head, justify="left" if head == "tiles" else "right")
    for row in table["rows"]:
        shares = [*row["recall_by_size"], row["recall"], row["precision"]]
        printed.add_row(
            row["tiles"],
            str(row["n"]),
            *("" if share is None else f"{share:.2f}" for share in shares),
            f"{row['mae']:.1f}",
            f"{row['total_error']:+.0%}",
            "-" if row["recall_at_equal_precision"] is None else f"{row['recall_at_equal_precision']:.2f}",
            "+".join(f"{value:.1f}" for value in row["ms"].values()),
        )
    Console(width=180).print(printed)


def main() -> int:
    """Run the benchmark; exit code 1 when the bundle or the list cannot be loaded."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--bundle", default="default", help="bundle folder (default: the shipped one)")
    parser.add_argument("--prompts", type=Path, default=Path("firmware_cfg/prompts/traffic.yaml"))
    parser.add_argument("--tiles", nargs="+", type=parse_arm, metavar="TILES", help="what to compare")
    parser.add_argument("--rounds", type=int, default=1, help="timed runs of each image (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the tables")
    options = parser.parse_args()
    arms = options.tiles or [parse_arm(arm) for arm in ("none", "2x2", "3x2", "auto", "none 1280x768")]
    try:
        runtime = BundleRuntime(load_bundle(options.bundle))
        loaded = load_prompt_list(options.prompts)
        bank = build_prompt_bank(loaded, runtime.sentences, runtime.facts, runtime.calibration)
        runtime.release_sentences()
        tables = []
        for table in measure(runtime, bank, arms, max(1, options.rounds)):
            tables.append(table)
            if not options.json:
                print_table(table)
    except RemoteclipError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps({"machine": cpu_fact().value, "tables": tables}))
    else:
        print(f"{cpu_fact().value}; {options.prompts}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
