"""What every training run shares: folder, schedule, batches, progress bar, and a log that a resume trims."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edge.files import write_atomically
from firmware_cfg.errors import UsageError
from training.errors import require_extra
from training.folders import recover_folder

STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"
RECIPE_FILE = "recipe.json"
CHECKPOINT_FOLDER = "checkpoint"
TENSORBOARD_FOLDER = "tensorboard"

Batch = TypeVar("Batch")


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Share of the full learning rate at a step, 0 <= step < steps: linear warm-up, then cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


def claim_run(out: Path, stated: bytes, resume: bool) -> None:
    """Make `out` the folder of the run that `stated` (its recipe as JSON) describes.

    Raises UsageError when `out` holds a run and `resume` is false, or the run there follows another recipe.
    """
    recover_folder(out / CHECKPOINT_FOLDER)
    if not resume and any((out / name).exists() for name in (STATE_FILE, CHECKPOINT_FOLDER)):
        raise UsageError(f"{out}: holds a run already (continue it with --resume, or choose another folder)")
    file = out / RECIPE_FILE
    if resume and file.exists() and file.read_bytes() != stated:
        raise UsageError(
            f"{file}: the run follows another recipe (resume it with that one, or begin a new run)"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(file, stated)


def prepared_ahead(
    prepare: Callable[[int], Batch], first: int, last: int, workers: int
) -> Generator[Batch, None, None]:
    """Batches first .. last - 1 by number, prepared ahead by threads (OpenCV works outside the GIL)."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[Batch]] = []
        try:
            for number in range(first, last):
                while len(waiting) <= workers and number + len(waiting) < last:
                    waiting.append(pool.submit(prepare, number + len(waiting)))
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def progress_bar(console: Console) -> Progress:
    """A bar with count, time taken and an estimate of the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


class RunLog:
    """Figures by step, in `log.jsonl` and for TensorBoard (`tensorboard --logdir OUT`). A context manager.

    A run that resumes at `step` takes the later steps again: their entries are dropped from the one and
    superseded in the other. Raises MissingExtra without the package tensorboard.
    """

    def __init__(self, out: Path, step: int) -> None:
        require_extra("train", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        trim_log(out / LOG_FILE, step)
        self._lines = (out / LOG_FILE).open("a", encoding="utf-8")
        _await_later_second(out / TENSORBOARD_FOLDER)
        self._board = SummaryWriter(str(out / TENSORBOARD_FOLDER), purge_step=step + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures of a finished training step (1 is the first); the line is there at once."""
        self._lines.write(json.dumps({"step": step, "time": time.time(), **figures}) + "\n")
        self._lines.flush()
        self.plot(step, "train", figures)
        self._board.flush()  # or a kill takes up to two minutes of its figures along

    def plot(self, step: int, group: str, figures: Mapping[str, float]) -> None:
        """Show figures in TensorBoard alone."""
        for name, value in figures.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._board.close()


def _await_later_second(folder: Path) -> None:
    """TensorBoard puts event files in order by the second in their names: let none there be of this one."""
    stamps = {int(file.name.split(".")[3]) for file in folder.glob("events.out.tfevents.*")}
    while int(time.time()) in stamps:
        time.sleep(0.05)


def trim_log(file: Path, step: int) -> None:
    """Drop the entries of steps that a resumed run takes again; the last line of a killed run may be torn."""
    lines = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    kept = {number: line for line in whole if (number := json.loads(line)["step"]) <= step}
    write_atomically(file, "".join(kept.values()).encode())
