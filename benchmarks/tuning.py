"""Counting before and after a list is tuned on ten named images, on the other ten of the flight.

    python benchmarks/tuning.py AERIAL_CARS [--json]

AERIAL_CARS is that set's folder; its test images are a vertical flight over Munich in which skylights on
roofs pass for cars (docs/decisions/004). `remoteclip prompts tune` runs on its first ten images; then every
numbered car crop of its page is marked as a person would, here by the labels: right where the middle of its
box lies in a labelled car. The list that is written back counts in the last ten. The flight goes on over
the same street, so this is the same scene, and the tool itself was made with these figures in view
(docs/decisions/015). Before: the threshold that evaluations use there, chosen on another flight, and the
null bank's default.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.load import load_bundle
from edge.pipeline import Pipeline
from edge.runtime import BundleRuntime
from edge.sources import ImageFiles
from edge.tune.marks import MarksFile
from edge.tune.session import Outcome, Plan, run
from edge.tune.write_back import write_back
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import LoadedPromptList, load_prompt_list
from training.evaluation.intervals import bootstrap_mean
from training.readers import OBJECT_READERS
from training.samples import ObjectSample

NAMED = tuple(f"MunichStreet02-MOS{number}.webp" for number in range(74, 84))
OTHERS = tuple(f"MunichStreet02-MOS{number}.webp" for number in range(84, 94))
CAR = "car"
LIST = """\
# What `remoteclip eval count` asks aerial_cars for.
version: 1
prompts:
  - {{id: car, text: [car, a car, a car seen from above]{threshold}}}
  - {{id: truck, text: [truck, a truck, a truck seen from above]{threshold}}}
  - {{id: bus, text: [bus, a bus, a bus seen from above]{threshold}}}
  - {{id: minibus, text: [minibus, a minibus, a minibus seen from above]{threshold}}}
  - {{id: cyclist, text: [cyclist, a cyclist, a cyclist seen from above]{threshold}}}
"""
CHOSEN_ELSEWHERE = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """Counting on n images: mean absolute error with its 95% interval, and the sums."""

    list: str
    n: int
    mae: float
    low: float
    high: float
    counted: int
    true: int


@dataclass(frozen=True, slots=True)
class Marked:
    """How many crops were marked right and wrong."""

    right: int
    wrong: int


class Bench:
    """One model, and the labels of one set."""

    def __init__(self, folder: Path) -> None:
        """Raises RemoteclipError where the set lacks an image."""
        names, samples = OBJECT_READERS["yolo"](folder, "test")
        self._car = names.index(CAR)
        self._samples = {sample.path.name: sample for sample in samples}
        missing = [name for name in (*NAMED, *OTHERS) if name not in self._samples]
        if missing:
            raise RemoteclipError(f"{folder}: has no test image {missing[0]} (is this aerial_cars?)")
        self._runtime = BundleRuntime(load_bundle("default"))

    def row(self, title: str, loaded: LoadedPromptList, names: Sequence[str]) -> Row:
        """Count in the named images with the drone's own pipeline."""
        with Pipeline(self._runtime, loaded, independent=True) as pipeline:
            counted = [pipeline.process(frame).counts.prompts[CAR].count for frame in self._images(names)]
        true = [len(self._cars(self._samples[name])[0]) for name in names]
        error = np.abs(np.array(counted) - true)
        low, high = bootstrap_mean(error)
        return Row(title, len(names), float(error.mean()), low, high, sum(counted), sum(true))

    def tune(self, path: Path) -> Marked:
        """Tune the list in `path` on the named images, and write it back."""
        plan = Plan(load_prompt_list(path), "named images", path.with_suffix(".html"))
        marks = self._marks(self._run(plan, MarksFile()))
        outcome = self._run(plan, marks)
        if outcome.changed is not None:
            write_back(plan.loaded, outcome.changed)
        return Marked(len(marks.positive), len(marks.negative))

    def _marks(self, seen: Outcome) -> MarksFile:
        """Every crop of a car, by the labels."""
        right, wrong = [], []
        (report,) = (report for report in seen.reports if report.prompt.id == CAR)
        for crop in report.crops:
            left, top, end, bottom = seen.sightings.box[crop.place]
            middle = np.array([left + end, top + bottom]) / 2
            centres, sizes = self._cars(self._samples[seen.sightings.names[crop.frame]])
            inside = (abs(centres - middle) <= sizes / 2).all(axis=1).any()
            (right if inside else wrong).append(crop.number)
        return MarksFile(positive=tuple(right), negative=tuple(wrong))

    def _run(self, plan: Plan, marks: MarksFile) -> Outcome:
        return run(plan, self._runtime, lambda: self._images(NAMED), marks)

    def _images(self, names: Sequence[str]) -> ImageFiles:
        return ImageFiles("aerial_cars", [self._samples[name].path for name in names], sequence=False)

    def _cars(self, sample: ObjectSample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mine = sample.labels == self._car
        return np.asarray(sample.centres[mine], np.float64), np.asarray(sample.sizes[mine], np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder of aerial_cars")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    options = parser.parse_args(arguments)
    try:
        bench = Bench(options.data)
        starts = {
            f"threshold {CHOSEN_ELSEWHERE:g}, of another flight": f", threshold: {CHOSEN_ELSEWHERE}",
            "the null bank's threshold": "",
        }
        with tempfile.TemporaryDirectory() as folder:
            for number, (title, threshold) in enumerate(starts.items()):
                path = Path(folder) / f"cars{number}.yaml"
                path.write_text(LIST.format(threshold=threshold))
                _print(bench.row(title, load_prompt_list(path), OTHERS), options.json)
                for turn in range(1, 3):
                    marked = bench.tune(path)
                    said = f"  tuned{' again' * (turn - 1)}: {marked.right} crops right, {marked.wrong} wrong"
                    _print(bench.row(said, load_prompt_list(path), OTHERS), options.json)
    except RemoteclipError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _print(row: Row, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(row)))
    else:
        print(
            f"{row.list}: error {row.mae:.1f} an image ({row.low:.1f} to {row.high:.1f}), "
            f"{row.counted} counted of {row.true}, n {row.n}"
        )


if __name__ == "__main__":
    sys.exit(main())
