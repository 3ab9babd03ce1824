"""The images that pairs are looked for in, and how model and encoder see them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.engines.base import F32, U8
from edge.files import UNREADABLE_NPZ, open_npz, write_atomically
from firmware_cfg.errors import RemoteclipError
from training.blindpairs.encoders import Encoder
from training.errors import DataError
from training.pools import read_rgb
from training.progress import track
from training.readers.files import IMAGE_SUFFIXES
from training.readers.pictures import image_problem

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

_CONSTANT = 2.0  # standard deviation of the pixels, of 255, up to which an image shows nothing
_BATCH = 16
_SAVED = 512  # images after which the rows so far are kept
CACHE = "embeddings.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The images of use, and their unit embeddings.

    kept: index of each among the paths given; model (N, D), encoder (N, E): rows in that order; skipped: why
    the others are of no use, by path.
    """

    kept: tuple[int, ...]
    model: F32
    encoder: F32
    skipped: dict[Path, str]


def find_images(folder: Path) -> list[Path]:
    """Every image file in a folder and below, by name. Raises DataError where there is no folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (name a folder of images or an annotated set)")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def embed_images(
    subject: Subject, encoder: Encoder, paths: Sequence[Path], folder: Path, cache: Path | None = None
) -> Embeddings:
    """Embed by model and encoder what is an image and shows something.

    Args:
        paths: the files; folder: what an error names.
        cache: file that keeps the rows, so that another run with the same model, encoder and files, or one
            that was stopped, does not compute them again.

    Raises RemoteclipError where fewer than two images are of use.
    """
    stored = _Cache(cache, subject, encoder)
    skipped = _encode(encoder, paths, stored)
    kept = tuple(number for number, path in enumerate(paths) if path not in skipped)
    if len(kept) < 2:
        raise RemoteclipError(f"{folder}: {_too_few(paths, skipped)}")
    used = [paths[number] for number in kept]
    unseen = [path for path in used if stored.row("model", path) is None]
    if unseen:
        for path, row in zip(unseen, subject.image_embeddings(unseen, "model"), strict=True):
            stored.put("model", path, row)
        stored.save()
    return Embeddings(kept, stored.rows("model", used), stored.rows("encoder", used), skipped)


def _encode(encoder: Encoder, paths: Sequence[Path], stored: _Cache) -> dict[Path, str]:
    """Fill in the encoder's rows. Returns what is of no use and why."""
    skipped: dict[Path, str] = {}
    waiting: list[tuple[Path, U8]] = []
    unsaved = 0

    def flush() -> int:
        rows = encoder.encode([pixels for _, pixels in waiting]) if waiting else ()
        for (path, _), row in zip(waiting, rows, strict=True):
            stored.put("encoder", path, row)
        waiting.clear()
        return len(rows)

    for path in track(paths, f"encoder {encoder.name}"):
        if path.is_file() and stored.row("encoder", path) is not None:
            continue
        problem = image_problem(path)
        pixels = None if problem else read_rgb(path)
        if pixels is not None and float(pixels.std()) <= _CONSTANT:
            problem = "shows one colour only"
        if pixels is None or problem:
            skipped[path] = problem
            continue
        waiting.append((path, pixels))
        if len(waiting) == _BATCH:
            unsaved += flush()
        if unsaved >= _SAVED:
            stored.save()
            unsaved = 0
    if unsaved + flush():
        stored.save()
    return skipped


def _too_few(paths: Sequence[Path], skipped: dict[Path, str]) -> str:
    if len(paths) < 2:
        held = "no image" if not paths else "a single image"
        return f"{held} in it, and a pair takes two (name a folder with more images)"
    path, problem = next(iter(skipped.items()))
    left = len(paths) - len(skipped)
    return (
        f"{len(skipped)} of {len(paths)} images are of no use and a pair takes two, {left} left"
        f" ({path.name} {problem})"
    )


class _Cache:
    """Rows by file, of one model and one encoder; a file that has changed since is another file."""

    def __init__(self, file: Path | None, subject: Subject, encoder: Encoder) -> None:
        self._file = file
        self._made_by = {"model": f"{subject.sha256} {subject.kind}", "encoder": encoder.name}
        self._found: dict[str, dict[str, F32]] = {"model": {}, "encoder": {}}
        if file is not None and file.is_file():
            self._load(file)

    def row(self, kind: str, path: Path) -> F32 | None:
        """The row of a file, None where it is not known."""
        return self._found[kind].get(_key(path))

    def rows(self, kind: str, paths: Sequence[Path]) -> F32:
        """(N, width) of files that are all known."""
        return np.stack([self._found[kind][_key(path)] for path in paths])

    def put(self, kind: str, path: Path, row: F32) -> None:
        self._found[kind][_key(path)] = row

    def save(self) -> None:
        """Write everything that is known, unless nothing is to be kept."""
        if self._file is None:
            return
        arrays = {kind: np.stack(list(rows.values())) for kind, rows in self._found.items() if rows}
        names = {kind: list(rows) for kind, rows in self._found.items()}
        facts = np.array(json.dumps({"made_by": self._made_by, "names": names}))
        buffer = io.BytesIO()
        np.savez(buffer, facts=facts, **arrays)
        write_atomically(self._file, buffer.getvalue())

    def _load(self, file: Path) -> None:
        """Take over what the same model or encoder made; what cannot be read is computed again."""
        try:
            with open_npz(file) as archive:
                facts = json.loads(str(archive["facts"]))
                for kind, names in facts["names"].items():
                    if names and facts["made_by"][kind] == self._made_by[kind]:
                        self._found[kind] = dict(zip(names, archive[kind], strict=True))
        except UNREADABLE_NPZ:
            self._found = {"model": {}, "encoder": {}}


def _key(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
