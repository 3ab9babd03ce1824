"""Confused prompts as a table, a JSON file and a picture of pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rich.table import Table

from edge.engines.base import U8
from edge.files import write_atomically
from edge.sources.images import read_rgb
from firmware_cfg.errors import UsageError
from training.blindpairs.places import crop

if TYPE_CHECKING:
    from training.blindpairs.prompts import Confusions, PromptConfusion

JSON_NAME, PICTURE_NAME = "confusions.json", "blind_pairs.png"
_SIDE, _GAP, _LABEL = 112, 8, 18


def confusion_table(report: Confusions) -> Table:
    """A row a prompt."""
    title = f"{report.n} images ({report.scenes} scenes), {report.model} beside {report.encoder}"
    table = Table(
        title=title, caption="backed: share of look-alikes that the model finds for the prompt, too"
    )
    columns = (
        "prompt",
        "found",
        "surest backed",
        "by chance",
        "look below (95%)",
        "of finds",
        "look-alikes go to",
    )
    for name in (*columns, "flips to", "same score, other look"):
        table.add_column(
            name, justify="left" if name in ("prompt", "look-alikes go to", "flips to") else "right"
        )
    for item in report.prompts:
        table.add_row(*_cells(item))
    return table


def write_run(report: Confusions, out: Path) -> None:
    """confusions.json, and blind_pairs.png where there are any. Raises UsageError, SourceError."""
    document = json.dumps(report.as_json(), indent=1) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / JSON_NAME, document.encode())
        picture = pairs_picture(report)
        if picture is not None:
            _, encoded = cv2.imencode(".png", picture[..., ::-1])
            write_atomically(out / PICTURE_NAME, encoded.tobytes())
    except OSError as error:
        raise UsageError(
            f"{out}: cannot be written: {error.strerror} (name another folder with -o)"
        ) from error


def pairs_picture(report: Confusions) -> U8 | None:
    """(H, W, 3) RGB: a row a prompt, its blind pairs side by side with their scores; None without any."""
    shown = [item for item in report.prompts if item.pairs]
    if not shown:
        return None
    most = max(len(item.pairs) for item in shown)
    wide = most * (2 * _SIDE + 2 * _GAP) + _GAP
    high = len(shown) * (_SIDE + 2 * _LABEL + _GAP) + _GAP
    sheet = np.full((high, wide, 3), 255, np.uint8)
    for row, item in enumerate(shown):
        top = _GAP + row * (_SIDE + 2 * _LABEL + _GAP)
        _write(sheet, item.prompt, _GAP, top + _LABEL - 5)
        units = report.units(item)
        column = units.ids.index(item.prompt)
        for number, pair in enumerate(item.pairs):
            for half, index in enumerate((pair.first, pair.second)):
                left = _GAP + number * (2 * _SIDE + 2 * _GAP) + half * (_SIDE + 1)
                pixels = read_rgb(report.terrain.folder / report.terrain.names[int(units.image[index])])
                box = units.box[index]
                part = crop(pixels, box) if np.isfinite(box).all() else pixels
                small = cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
                sheet[top + _LABEL : top + _LABEL + _SIDE, left : left + _SIDE] = small
                score = f"{units.score[index, column]:.2f}"
                _write(sheet, score, left + 2, top + 2 * _LABEL + _SIDE - 5)
    return sheet


def _cells(item: PromptConfusion) -> tuple[str, ...]:
    cut = item.cut
    if item.review_below is None or cut is None:
        look = {"backed": "nothing", "too few": "too few to tell", "not told": "not told apart"}[item.verdict]
    else:
        look = f"{item.review_below:.2f} ({cut.low:.2f} to {cut.high:.2f})"
    return (
        item.prompt,
        str(item.found),
        "-" if cut is None else f"{cut.surest:.0%}",
        "-" if cut is None else f"{cut.chance:.0%}",
        look,
        "-" if item.below is None else f"{item.below:.0%}",
        _shares(item.taken_for),
        _shares(item.flips),
        "-" if item.blind is None else f"{item.blind:.0%} of {item.same_score}",
    )


def _shares(pairs: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in pairs[:2]) or "-"


def _write(sheet: U8, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
