"""A contact sheet: what a search found, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import write_atomically
from edge.runs.reader import Run
from edge.runs.search.hits import Hit, ranked
from edge.sources.images import read_rgb
from firmware_cfg.errors import SourceError, UsageError

_TILE = 256
_CAPTION = 40
_GAP = 8
_COLUMNS = 5
_LETTERS = 34
"""That fit under a tile in one line."""
_INK, _PAPER, _EMPTY = (30, 30, 30), 255, 225
FORMATS = (".jpg", ".jpeg", ".png", ".webp")


def check_sheet_path(path: Path) -> None:
    """Raises UsageError: before minutes of work, not after them."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"-o {path}: not a kind of picture that can be written (use {', '.join(FORMATS)})")
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: no such folder {path.parent} (make it first)")


def write_sheet(path: Path, hits: Sequence[Hit], runs: Mapping[Path, Run]) -> None:
    """Write the hits in rows of five, each with rank, score and place. Raises SourceError: not writable.

    Args:
        path: its suffix says the format, see `check_sheet_path`.
        hits: in the order of ranks, pictures before places.
        runs: open, by path, for the pictures that they keep.
    """
    import cv2

    rows = -(-len(hits) // _COLUMNS)
    cell = (_TILE + _CAPTION + _GAP, _TILE + _GAP)
    names = sorted({name for hit in hits if (name := _name(hit))})
    common = _common(names[0], names[-1]) if len(names) > 1 else ""
    canvas = np.full((rows * cell[0] + _GAP, _COLUMNS * cell[1] + _GAP, 3), _PAPER, np.uint8)
    for number, (kind, rank, hit) in enumerate(ranked(hits)):
        top, left = _GAP + number // _COLUMNS * cell[0], _GAP + number % _COLUMNS * cell[1]
        canvas[top : top + _TILE, left : left + _TILE] = _tile(_pixels(hit, runs))
        for line, text in enumerate(captions(kind, rank, hit, common)):
            at = (left, top + _TILE + 15 + 18 * line)
            printable = text.encode("ascii", "replace").decode()
            cv2.putText(canvas, printable, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
    _, encoded = cv2.imencode(path.suffix.lower(), cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    try:
        write_atomically(path, encoded.tobytes())
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror} (name another file)") from error


def captions(kind: str, rank: int, hit: Hit, common: str) -> tuple[str, str]:
    """Two lines that fit under a tile: rank, score and track; then time, position and name.

    Args:
        common: what the names of all pictures on the sheet begin with.
    """
    first = f"{kind} {rank}: {hit.score:.2f}"
    if hit.track is not None:
        first += f", {_shortened(hit.prompt or '', _LETTERS - len(f'{first},  {hit.track}'))} {hit.track}"
    told = [] if hit.time_s is None or hit.name is not None else [f"{hit.time_s:.1f} s"]
    if hit.latitude is not None:
        told.append(f"{hit.latitude:.5f} {hit.longitude:.5f}")
    second = " ".join(told)
    name, room = _name(hit), _LETTERS - len(second) - bool(second)
    if len(name) > room:
        name = _shortened(f"..{name[len(common) :]}" if len(common) > 2 else name, room)
    return first, f"{second} {name}".strip()


def _name(hit: Hit) -> str:
    """Of the picture; empty for a frame of a video, which its time tells."""
    return f"{hit.path.parent.name}/{hit.path.name}" if hit.time_s is None else hit.name or ""


def _common(first: str, last: str) -> str:
    """What both begin with, and so does all that is sorted between them."""
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))


def _shortened(text: str, room: int) -> str:
    """At most `room` letters, five or more: both ends, more of the second, which is where names differ."""
    if len(text) <= room:
        return text
    head = (room - 2) // 3
    return f"{text[:head]}..{text[len(text) - (room - 2 - head) :]}"


def _pixels(hit: Hit, runs: Mapping[Path, Run]) -> NDArray[np.uint8] | None:
    """RGB of what the hit shows; None where there is nothing to show."""
    import cv2

    if hit.kind == "image":
        return read_rgb(hit.path)
    run = runs[hit.path]
    if hit.kind == "place":
        data = None if hit.track is None else run.crop(hit.track)
    else:
        data = None if hit.picture is None else run.thumbnail(hit.picture)
    decoded = None if not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if decoded is None else np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _tile(pixels: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """(_TILE, _TILE, 3): the whole picture on an empty ground."""
    import cv2

    tile = np.full((_TILE, _TILE, 3), _EMPTY, np.uint8)
    if pixels is not None:
        scale = _TILE / max(pixels.shape[:2])
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        top, left = (_TILE - height) // 2, (_TILE - width) // 2
        tile[top : top + height, left : left + width] = small
    return tile
