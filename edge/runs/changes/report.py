"""What a comparison came to: lines, JSON, and a page with the two flights side by side."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from edge.runs.changes.compare import Comparison
from edge.runs.changes.judge import Change
from edge.runs.reader import Run

if TYPE_CHECKING:
    from edge.frames import Pixels

_SIDE = 220
"""Pixels of a picture on the page."""
_AROUND = 2.5
"""What is shown, in longer sides of the box."""
_RED, _BLUE = (220, 50, 32), (0, 90, 181)
_LEGEND = (
    "A <b class=vanished>red circle</b> is round the thing in the flight that found it, a"
    " <b class=appeared>blue circle</b> round the place where the other flight looked for it; a picture"
    " without a circle was cut out round the thing itself. Confidence is of what the two flights found,"
    " not of the ground."
)
_STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;color:#222}
table{border-collapse:collapse}td,th{padding:.35rem .7rem;text-align:left;border-bottom:1px solid #ddd;
vertical-align:top}small{color:#555}img,.none{width:220px;height:220px;background:#e8e8e8;display:block}
.none{display:grid;place-items:center;color:#777}.vanished{color:#dc3220}.appeared{color:#005ab5}"""


def summary(result: Comparison) -> list[str]:
    """What was compared, and of what nothing can be said."""
    if result.area_m2 is not None:
        seen = "first {:.2f} ha, second {:.2f} ha, both {:.2f} ha".format(
            *(m2 / 1e4 for m2 in result.area_m2)
        )
        lines = [f"matched by telemetry; seen: {seen}"]
        if result.shift_m is None:
            lines.append("too few things in common to hold the flights' positions against one another")
        else:
            north, east = result.shift_m
            lines.append(
                f"the second's positions lie {north:+.1f} m north, {east:+.1f} m east of the first's"
            )
    else:
        lines = [f"matched by {result.pictures} pairs of pictures that show one ground; no telemetry"]
    lines.append(f"compared: {', '.join(result.prompts)}")
    if result.others:
        lines.append(f"not compared, not asked in the same words by both: {', '.join(result.others)}")
    lines.append(f"shown by both: {result.kept[0]} of the first's things, {result.kept[1]} of the second's")
    lines.append(f"cannot be told: {result.unsure[0]} of the first's, {result.unsure[1]} of the second's")
    lines.append(
        f"not looked at by the other: {result.unseen[0]} of the first's, {result.unseen[1]} of the second's"
    )
    return lines


def lines(result: Comparison) -> list[str]:
    """The changes for people, by prompt, surest first."""
    told = []
    for prompt in result.prompts:
        for kind in ("vanished", "appeared"):
            mine = [each for each in result.changes if (each.prompt, each.kind) == (prompt, kind)]
            told.append(f"{prompt} {kind}: {len(mine)}")
            told += [f"  {each.confidence:.2f}  {_where(each)}" for each in mine]
    return [*told, *summary(result)]


def as_json(result: Comparison) -> str:
    """One JSON object; what is not known is null."""
    return json.dumps(asdict(result), ensure_ascii=False)


def page(result: Comparison, first: Run, second: Run) -> str:
    """One HTML page that needs nothing else: each change in both flights' pictures, side by side."""
    title = f"{first.path.name} and {second.path.name}"
    rows = []
    for change in result.changes:
        here, there = (first, second) if change.kind == "vanished" else (second, first)
        shown = _picture(_crop_there(there, change), _seen_there(there, change))
        own = _picture(_crop_here(here, change), _seen(change))
        pictures = (own, shown) if change.kind == "vanished" else (shown, own)
        rows.append(
            f"<tr><td><b class={change.kind}>{html.escape(change.prompt)} {change.kind}</b><br>confidence"
            f" {change.confidence:.2f}<br>{html.escape(_where(change))}</td>"
            f"<td>{pictures[0]}</td><td>{pictures[1]}</td></tr>"
        )
    told = "".join(f"<li>{html.escape(line)}</li>" for line in summary(result))
    table = "".join(rows) or "<tr><td colspan=3>Nothing appeared and nothing vanished.</td></tr>"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>What changed</h1><p>{html.escape(title)}</p><ul>{told}</ul>"
        f"<p>{_LEGEND}</p><table><tr><th>what</th><th>first</th><th>second</th></tr>{table}</table></html>\n"
    )


def _seen(change: Change) -> str:
    """The flight and the frame that show the thing."""
    flight = "first" if change.kind == "vanished" else "second"
    return f"{flight} flight, frame {change.number}, {change.time_s:.1f} s"


def _seen_there(run: Run, change: Change) -> str:
    """The flight and the frame of the other's best look at its place."""
    flight = "second" if change.kind == "vanished" else "first"
    if change.other_frame is None:
        return f"{flight} flight"
    frame = run.frames()[change.other_frame]
    return f"{flight} flight, frame {frame.number}, {frame.time_s:.1f} s"


def _where(change: Change) -> str:
    place = _seen(change)
    if change.latitude is not None:
        place += f", {change.latitude:.6f} {change.longitude:.6f} (+-{change.h_acc_m:.1f} m)"
    return f"{place}; the other flight found it in {change.found} of {change.looks} looks"


def _crop_here(run: Run, change: Change) -> Pixels | None:
    """From the picture of the frame, or what was cut out of it."""
    frame = run.frames()[change.frame]
    pixels = _decoded(run.thumbnail(frame.row))
    if pixels is None:
        return _decoded(run.crop(change.track))
    centre = ((change.box[0] + change.box[2]) / 2, (change.box[1] + change.box[3]) / 2)
    side = max(change.box[2] - change.box[0], change.box[3] - change.box[1])
    return _cut(pixels, pixels.shape[1] / frame.width, centre, side, _RED)


def _crop_there(run: Run, change: Change) -> Pixels | None:
    if change.other_frame is None:
        return None
    frame = run.frames()[change.other_frame]
    pixels = _decoded(run.thumbnail(frame.row))
    if pixels is None:
        return None
    return _cut(pixels, pixels.shape[1] / frame.width, change.other_at, 1.5 * change.other_reach, _BLUE)


def _cut(
    pixels: Pixels, scale: float, centre: tuple[float, float], side: float, colour: tuple[int, int, int]
) -> Pixels:
    """The surroundings of a place of the frame, a circle round it, _SIDE pixels wide."""
    import cv2

    half = max(12.0, _AROUND * side * scale)
    x, y = centre[0] * scale, centre[1] * scale
    factor = _SIDE / (2 * half)
    matrix = np.array([[factor, 0, _SIDE / 2 - factor * x], [0, factor, _SIDE / 2 - factor * y]])
    shown = cv2.warpAffine(
        pixels, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderValue=(225, 225, 225)
    )
    cv2.circle(shown, (_SIDE // 2, _SIDE // 2), round(0.8 * side * scale * factor), colour, 1, cv2.LINE_AA)
    return np.asarray(shown, np.uint8)


def _decoded(data: bytes | None) -> Pixels | None:
    import cv2

    decoded = None if not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if decoded is None else np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _picture(pixels: Pixels | None, caption: str) -> str:
    import cv2

    if pixels is None:
        return f"<div class=none>no picture was kept</div><small>{caption}</small>"
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    data = base64.b64encode(encoded.tobytes()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{data}"><small>{caption}</small>'
