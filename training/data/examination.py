"""Examines many images by an engine, and remembers what it has seen, so that a resumed build goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from training.data.engine import Engine, Result
from training.data.images import Examined, examine
from training.data.shards import RECORDS
from training.errors import DataError

_CHUNK = 32  # images a task
_FILE = "examined.jsonl"


@dataclass(frozen=True, slots=True)
class _Chunk:
    root: Path
    files: tuple[str, ...]


def examine_files(root: Path, files: Sequence[str], engine: Engine, folder: Path) -> dict[str, Examined]:
    """Every file's examination by its name; new ones are noted below `folder` as they come in."""
    notes = folder / RECORDS / _FILE
    known = {file: seen for file, seen in _remembered(notes).items() if _unchanged(root, seen)}
    missing = [file for file in dict.fromkeys(files) if file not in known]
    chunks = [_Chunk(root, tuple(missing[i : i + _CHUNK])) for i in range(0, len(missing), _CHUNK)]
    with notes.open("a", encoding="utf-8") as stream:
        stream.write("\n" if stream.tell() else "")  # ends the line that a killed run did not finish
        for _, looked in watched(engine.run(_examine_chunk, chunks), len(chunks), "examining images"):
            stream.write("".join(f"{json.dumps(seen.as_json())}\n" for seen in looked))
            stream.flush()
            known.update((seen.file, seen) for seen in looked)
    return known


def watched(
    results: Iterator[tuple[int, Result]], total: int, description: str
) -> Iterator[tuple[int, Result]]:
    """Pass results through under a progress bar with an estimate, on stderr."""
    yield from track(results, description, total=total, transient=True, console=Console(stderr=True))


def _examine_chunk(chunk: _Chunk) -> list[Examined]:
    if not chunk.root.is_dir():
        raise DataError(f"{chunk.root}: not seen by the worker (put it on storage that every node mounts)")
    return [examine(chunk.root, file) for file in chunk.files]


def _remembered(notes: Path) -> dict[str, Examined]:
    seen: dict[str, Examined] = {}
    if notes.is_file():
        for line in notes.read_text("utf-8").splitlines():
            try:
                image = Examined(**json.loads(line))
            except (TypeError, ValueError):  # the line that a killed run did not finish
                continue
            seen[image.file] = image
    return seen


def _unchanged(root: Path, seen: Examined) -> bool:
    try:
        status = (root / seen.file).stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (seen.size, seen.modified)
