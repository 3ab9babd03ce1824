"""The ablations' table."""

from __future__ import annotations

from collections.abc import Sequence

from training.ablations.images import AblationImages, commonest
from training.ablations.study import Figure, Result


def table(results: Sequence[Result], images: AblationImages) -> str:
    """A Markdown table: what every variant reached, and how far from what it differs from in one thing.

    Percent with 95% intervals; a difference is of the same items in pairs, and bold where its interval leaves
    out zero. The last row is what always saying the commonest number would reach.
    """
    if not results:
        return ""
    first = results[0]
    head = (
        f"| variant | mean recall (n {first.recall.n}) | difference "
        f"| right number, boxes (n {first.boxes.n}) | difference "
        f"| right number, masks (n {first.masks.n}) | seconds a run |\n{'| --- ' * 7}|\n"
    )
    guesses = [f"{100 * commonest(images.counted[origin]):.1f}" for origin in ("boxes", "masks")]
    last = f"| always the commonest number |  |  | {guesses[0]} |  | {guesses[1]} |  |\n"
    return head + "".join(_row(result, results) for result in results) + last


def _row(result: Result, results: Sequence[Result]) -> str:
    against = next(
        (r for r in results if r.variant.name == result.variant.against != result.variant.name), None
    )
    cells = [
        result.variant.name,
        _cell(result.recall),
        _difference(result.recall, against.recall if against else None),
        _cell(result.boxes),
        _difference(result.boxes, against.boxes if against else None),
        _cell(result.masks),
        f"{result.seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def _cell(figure: Figure) -> str:
    low, high = figure.interval()
    return f"{100 * figure.mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _difference(figure: Figure, against: Figure | None) -> str:
    if against is None:
        return ""
    apart = figure.minus(against)
    low, high = apart.interval()
    mean, least, most = (round(100 * value, 1) + 0.0 for value in (apart.mean, low, high))  # no -0.0
    text = f"{mean:+.1f} ({least:+.1f} to {most:+.1f})"
    return f"**{text}**" if low > 0 or high < 0 else text
