"""The teacher's answers on disk: a shard a step, memory-mapped, written once for all runs alike."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compile.distill.answers import NAMES, Answers
from edge.files import write_atomically
from firmware_cfg.errors import RemoteclipError, UsageError
from training.errors import CheckpointError
from training.prompts import SentenceBank

STORE_FILE = "store.json"
_LARGEST_CHANGE = 3  # of a mark, of 255: another JPEG decoder or resizer rounds differently


class TeacherStore:
    """A folder of answers: `store.json` (whose, to what), `text-*.npy`, `step-*.npy`.

    Every file is written whole or not at all, so a killed run leaves the steps that it finished and the next
    one goes on behind them.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Open or begin a store. Raises UsageError where the folder's answers are to other questions.

        identity: all that the answers depend on, as JSON: the teacher's hash, and what the recipe draws.
        """
        self.folder = folder
        stated = json.dumps(identity, indent=2, sort_keys=True).encode() + b"\n"
        file = folder / STORE_FILE
        if file.is_file() and file.read_bytes() != stated:
            raise UsageError(
                f"{file}: answers of another teacher, or to another recipe's crops (choose another --store)"
            )
        if not file.is_file() and folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder}: not a teacher's store, and not empty (choose another --store)")
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, stated)

    def missing(self, steps: int) -> list[int]:
        """The steps of 0 .. steps - 1 that the teacher has not answered yet."""
        return [step for step in range(steps) if not self._shard(step).is_file()]

    def write(self, step: int, answers: Answers) -> None:
        """Store a step's answers. Raises RemoteclipError where they cannot be written, or are no numbers."""
        arrays = {name: getattr(answers, name) for name in NAMES}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise RemoteclipError(
                    f"the teacher's answer to step {step} ({name}) is not a number in half precision"
                    " (is its checkpoint sound?)"
                )
        layout = np.dtype([(name, array.dtype, array.shape) for name, array in arrays.items()])
        record = np.zeros(1, layout)
        for name, array in arrays.items():
            record[name][0] = array
        _write(self._shard(step), _npy(record))

    def read(self, step: int, crop_mark: NDArray[np.uint8], scene_mark: NDArray[np.uint8]) -> Answers:
        """A step's answers, memory-mapped; the marks are those of the crops that the student is to see.

        Raises CheckpointError where the shard is damaged, or the teacher saw other crops.
        """
        file = self._shard(step)
        try:
            record = np.load(file, mmap_mode="r")
            answers = Answers(*(record[name][0] for name in NAMES))
        except (OSError, ValueError, EOFError, IndexError) as error:
            raise CheckpointError(f"{file}: damaged (remove it: --resume asks the teacher again)") from error
        for stored, seen in ((answers.crop_mark, crop_mark), (answers.scene_mark, scene_mark)):
            same = stored.shape == seen.shape
            if not same or np.abs(stored.astype(int) - seen.astype(int)).max(initial=0) > _LARGEST_CHANGE:
                raise CheckpointError(
                    f"{file}: the teacher saw other crops: the images, or what crops them, have changed"
                    f" (remove {self.folder})"
                )
        return answers

    def bank(
        self, sentences: Sequence[str], encode: Callable[[Sequence[str]], NDArray[np.float32]]
    ) -> SentenceBank:
        """The teacher's embeddings of the sentences, read where they are stored, else encoded and stored."""
        unique = list(dict.fromkeys(sentences))
        digest = hashlib.sha256("\n".join(unique).encode()).hexdigest()
        file = self.folder / f"text-{digest[:16]}.npy"
        if not file.is_file():
            _write(file, _npy(encode(unique)))
        try:
            rows = np.load(file)
        except (OSError, ValueError, EOFError) as error:
            raise CheckpointError(
                f"{file}: damaged (remove it: --resume reads the sentences again)"
            ) from error
        return SentenceBank({text: i for i, text in enumerate(unique)}, torch.from_numpy(rows))

    def require_space(self, steps: int) -> None:
        """Raise UsageError where the disk cannot hold the missing steps, judged by those that are there."""
        missing = len(self.missing(steps))
        sizes = [file.stat().st_size for file in self.folder.glob("step-*.npy")]
        if not missing or not sizes:
            return
        needed, free = missing * max(sizes), shutil.disk_usage(self.folder).free
        if needed > free:
            raise UsageError(
                f"{self.folder}: {steps} answers need {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB"
                " are free (lower --round, or name another disk with --store)"
            )

    def _shard(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.npy"


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _write(file: Path, data: bytes) -> None:
    try:
        write_atomically(file, data)
    except OSError as error:
        raise RemoteclipError(f"{file}: cannot be written: {error.strerror} (nothing is lost)") from error
