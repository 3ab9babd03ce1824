"""The ablations' table."""

from __future__ import annotations

from collections.abc import Sequence

from training.ablations.study import Figure, Result


def table(results: Sequence[Result]) -> str:
    """A Markdown table of what every variant reached, percent with 95% intervals, and how long it trained."""
    if not results:
        return ""
    first = results[0]
    head = (
        f"| variant | rsicd validation, mean recall (n {first.recall.n}) "
        f"| right number, box sets (n {first.boxes.n}) | right number, mask sets (n {first.masks.n}) "
        "| seconds |\n| --- | --- | --- | --- | --- |\n"
    )
    rows = [
        f"| {r.variant.name} | {_cell(r.recall)} | {_cell(r.boxes)} | {_cell(r.masks)} | {r.seconds:.0f} |\n"
        for r in results
    ]
    return head + "".join(rows)


def _cell(figure: Figure) -> str:
    return f"{100 * figure.mean:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
