"""What `remoteclip prompts tune` prints: for people, and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.tune.session import Outcome

_KINDS = (("right", True), ("wrong", False))


def lines(outcome: Outcome, page: Path, list_path: str, written: bool) -> list[str]:
    """The report as text; `written` says that the list has been changed."""
    rows = [("prompt", "found", "best score", "threshold", "suggested")]
    for report in outcome.reports:
        suggested = "-" if report.suggested is None else f"{report.suggested:.2f}"
        rows.append(
            (report.prompt.id, str(report.found), f"{report.best:.2f}", f"{report.threshold:.2f}", suggested)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    said = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    said.append(
        f"{len(outcome.sightings.number)} frames{', seen before' if outcome.from_cache else ''}; page: {page}"
    )
    if outcome.tuning is None:
        return said
    for item in outcome.tuning.prompts:
        judged = "no better" if item.left_out is None else f"{item.left_out.right:.0%}"
        said.append(
            f"{item.prompt}: {item.positive} right, {item.negative} wrong; told apart before "
            f"{item.before.right:.0%}, left out one by one {judged}"
        )
        said += [f"  {kind}: {_crops(outcome, item.prompt, right)}" for kind, right in _KINDS]
    said += outcome.tuning.notes
    if outcome.changed is None:
        return [*said, f"{list_path}: nothing to change"]
    warning = outcome.tuning.warning
    if warning is not None:
        return [*said, outcome.diff, warning, f"{list_path}: not written"]
    return [*said, outcome.diff, f"{list_path}: {'written' if written else 'not written (add --write)'}"]


def _crops(outcome: Outcome, prompt: str, right: bool) -> str:
    """The crops of a prompt that are marked so, by number and frame; by frame alone where none shows it."""
    numbers = {
        (crop.prompt, crop.frame if crop.place is None else crop.place): crop.number
        for report in outcome.reports
        for crop in report.crops
    }
    scene = any(report.prompt.id == prompt and report.prompt.kind == "scene" for report in outcome.reports)
    told = []
    for mark in outcome.marks:
        if (mark.prompt, mark.right) == (prompt, right):
            frame = mark.index if scene else int(outcome.sightings.frame[mark.index])
            where = f"frame {outcome.sightings.number[frame]}"
            number = numbers.get((mark.prompt, mark.index))
            told.append(where if number is None else f"{number} ({where})")
    return ", ".join(told) or "none"


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The report as plain data."""
    tuning = outcome.tuning
    return {
        "frames": len(outcome.sightings.number),
        "from_cache": outcome.from_cache,
        "prompts": {
            report.prompt.id: {
                "found": report.found,
                "frames": report.frames,
                "best": round(report.best, 4),
                "threshold": round(report.threshold, 4),
                "null_threshold": round(report.null_threshold, 4),
                "suggested": report.suggested,
                "crops": [crop.number for crop in report.crops],
            }
            for report in outcome.reports
        },
        "tuned": [
            {
                "prompt": item.prompt,
                "positive": item.positive,
                "negative": item.negative,
                "right_before": item.before.right,
                "right_left_out": None if item.left_out is None else item.left_out.right,
                "bias": round(item.line.bias, 2),
                "temperature": round(item.line.temperature, 2),
                "threshold": item.threshold,
                "background": item.background,
            }
            for item in (tuning.prompts if tuning else ())
        ],
        "diff": outcome.diff,
        "warning": None if tuning is None or outcome.changed is None else tuning.warning,
    }
