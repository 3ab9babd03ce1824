"""What an evaluation of blind pairs found: its table, its JSON object and its run folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge.files import write_atomically
from training.blindpairs.questions import CHANCE, Accuracy, PairAccuracy, choices
from training.blindpairs.set_file import BlindPairSet, write_set

if TYPE_CHECKING:
    from rich.table import Table

SET_FILE = "blindpairs.json"
REPORT_FILE = "report.json"
SHEET_FILE = "pairs.png"
PAGE_FILE = "review.html"


@dataclass(frozen=True, slots=True)
class Mined:
    """How a set was found.

    images: of use; skipped: why others were not, by file; same: pairs that the model calls the same; blind:
    those of them that the encoder tells apart; told_apart_same, told_apart_blind: the shares of both that
    annotations tell apart as well, None without annotations. The second being the larger is what the encoder
    is there for.
    """

    images: int
    skipped: dict[str, str]
    split: str
    same: int
    blind: int
    told_apart_same: float | None
    told_apart_blind: float | None


@dataclass(frozen=True, slots=True, eq=False)
class BlindPairReport:
    """A set of blind pairs and what the model answers.

    model, sha256: of what answers, which need not be what the pairs were mined for; similarity: (Q, 2, 2) of
    each question's statements to its images; similarity and accuracy are None for a set without questions;
    mined: None for a set that was read.
    """

    dataset: str
    model: str
    sha256: str
    found: BlindPairSet
    similarity: NDArray[np.float64] | None
    accuracy: PairAccuracy | None
    mined: Mined | None

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last; `n` questions, and no `pair_accuracy` where that is 0."""
        document: dict[str, Any] = {
            "dataset": self.dataset,
            "model": self.model,
            "sha256": self.sha256,
            "mined_for": self.found.model,
            "encoder": self.found.encoder,
            "t1": self.found.t1,
            "t2": self.found.t2,
        }
        if self.mined is not None:
            document |= asdict(self.mined)
        document["set_pairs"] = len(self.found.pairs)
        return {**document, **({"n": 0} if self.accuracy is None else self.accuracy.as_json())}

    def table(self) -> Table:
        """Pair accuracy by visual pattern, beside guessing."""
        from rich.table import Table

        title = f"Blind pairs, {self.dataset}: {self.model} beside {self.found.encoder}"
        table = Table(
            "pattern", "questions", "pairs", "pair accuracy", "95%", "both wrong", "chance", title=title
        )
        if self.accuracy is not None:
            for name, accuracy in self.accuracy.patterns.items():
                table.add_row(name, *_cells(accuracy))
            table.add_row("all", *_cells(self.accuracy.overall))
        table.caption = "; ".join(self._notes())
        return table

    def write(self, out: Path) -> None:
        """Write set, report, contact sheet and review page into the run folder. Raises OSError."""
        from training.blindpairs.page import render
        from training.blindpairs.sheet import contact_sheet

        out.mkdir(parents=True, exist_ok=True)
        right = None if self.similarity is None else choices(self.similarity)
        write_set(out / SET_FILE, self.found)
        report = json.dumps(self.as_json(), indent=1, ensure_ascii=False)
        write_atomically(out / REPORT_FILE, f"{report}\n".encode())
        write_atomically(out / SHEET_FILE, contact_sheet(self.found, right))
        write_atomically(out / PAGE_FILE, render(self.found, right, self.dataset).encode())

    def _notes(self) -> list[str]:
        mined, found = self.mined, self.found
        if mined is None:
            return [f"{len(found.pairs)} pairs, mined for {found.model}"]
        notes = [
            f"{mined.images} images ({mined.split})",
            f"model above {found.t1:.3f}: {mined.same} pairs",
            f"of these encoder below {found.t2:.3f}: {mined.blind}",
            f"kept {len(found.pairs)}",
        ]
        if mined.told_apart_same is not None and mined.told_apart_blind is not None:
            notes.append(
                f"annotations tell apart {mined.told_apart_same:.1%} of the former and"
                f" {mined.told_apart_blind:.1%} of the latter"
            )
        if mined.skipped:
            file, why = next(iter(mined.skipped.items()))
            notes.append(f"left out {len(mined.skipped)}, such as {file}, which {why}")
        if self.accuracy is None:
            notes.append(f"nothing to ask without annotations: write questions on {PAGE_FILE}")
        return notes


def _cells(accuracy: Accuracy) -> tuple[str, ...]:
    return (
        str(accuracy.n),
        str(accuracy.pairs),
        f"{accuracy.accuracy:.1%}",
        f"{accuracy.low:.0%}-{accuracy.high:.0%}",
        f"{accuracy.crossed:.1%}",
        f"{CHANCE:.0%}",
    )
