"""`make accuracy`: every figure that README and the model card quote, for one model or several beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import edge
import training
from edge.bundle.load import DEFAULT
from edge.bundle.manifest import MANIFEST_NAME
from edge.files import write_atomically
from firmware_cfg.errors import UsageError
from firmware_cfg.names import suggest
from training.checkpoint import MODEL_FILE
from training.data_root import data_root
from training.evaluation.count import evaluate_count
from training.evaluation.goals import FIGURES, Figure, Kind
from training.evaluation.operating import SUITED, Asked
from training.evaluation.scenes import evaluate_retrieval, evaluate_zeroshot

if TYPE_CHECKING:
    from training.evaluation.subject import Subject


@dataclass(frozen=True, slots=True)
class Value:
    """A figure of one model with its 95% interval, where there is one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One figure over n images, of every model in turn; difference: the largest of another from the first."""

    figure: Figure
    n: int
    values: tuple[Value | None, ...]
    difference: float | None


@dataclass(frozen=True, slots=True)
class AccuracyReport:
    """The whole table.

    models: name, kind, path and hash of each; documents: of each, every evaluation's object by kind and set;
    same_counts: share of pairs of image and class in which every model gave the first one's count, None for
    one model or without counting; pairs: how many there were.
    """

    models: tuple[dict[str, str], ...]
    documents: tuple[dict[str, dict[str, dict[str, Any]]], ...]
    rows: tuple[Row, ...]
    same_counts: float | None
    pairs: int

    def largest_difference(self, share: bool) -> Row | None:
        """The figure in which models differ most, among shares or among the others; None for one model."""
        rows = [row for row in self.rows if row.difference is not None and row.figure.share is share]
        return max(rows, key=lambda row: row.difference or 0.0, default=None)

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last; n is the number of images of all evaluations."""
        most = {"shares": self.largest_difference(True), "errors": self.largest_difference(False)}
        return {
            "n": sum(document["n"] for kind in self.documents[0].values() for document in kind.values()),
            "models": [{**m, **documents} for m, documents in zip(self.models, self.documents, strict=True)],
            "table": [
                {
                    "dataset": row.figure.dataset,
                    "figure": row.figure.label,
                    "n": row.n,
                    "goal": row.figure.goal,
                    "values": [value and value.value for value in row.values],
                    "reached": [value and row.figure.reached(value.value) for value in row.values],
                    "difference": row.difference,
                }
                for row in self.rows
            ],
            "largest_difference": {
                kind: row
                and {"dataset": row.figure.dataset, "figure": row.figure.label, "difference": row.difference}
                for kind, row in most.items()
            },
            "same_counts": self.same_counts,
        }


def evaluate_accuracy(
    subjects: Sequence[Subject],
    root: Path,
    *,
    only: Sequence[str] = (),
    out: Path | None = None,
    figures: Sequence[Figure] = FIGURES,
) -> AccuracyReport:
    """Measure every figure of every model on held-back data.

    The first model chooses each set's model input on validation images, and the others take it, so that all
    are given the same pixels; every model chooses its own thresholds.

    Args:
        subjects: the models, one at least.
        root: the folder of the data sets.
        only: measure these sets alone.
        out: folder that keeps every finished evaluation, so that a run that was stopped goes on where it was.
            One is used again only for the same model, set and code.
        figures: the rows.

    Raises:
        UsageError: a set that no figure is taken from.
        RemoteclipError: as the evaluations raise it.
    """
    known = list(dict.fromkeys(figure.dataset for figure in figures))
    for name in only:
        if name not in known:
            raise UsageError(f"no figure is taken from {name} ({suggest(name, known)})")
    wanted = [figure for figure in figures if not only or figure.dataset in only]
    tasks = list(dict.fromkeys((figure.dataset, figure.kind) for figure in wanted))
    console = Console(stderr=True)
    found: list[dict[tuple[str, Kind], dict[str, Any]]] = [{} for _ in subjects]
    for number, (dataset, kind) in enumerate(tasks, start=1):
        size: Asked = None
        for which, subject in enumerate(subjects):
            console.print(f"{number}/{len(tasks)} {dataset}: {kind} by {subject.name} ({subject.kind})")
            document = _kept(out, subject, root / dataset, kind, size)
            found[which][dataset, kind] = document
            if kind == "count":
                width_height = document["image_size"]
                size = SUITED if width_height is None else (width_height[0], width_height[1])
    rows = tuple(
        _row(figure, [documents[figure.dataset, figure.kind] for documents in found]) for figure in wanted
    )
    same, pairs = _agreement(found)
    return AccuracyReport(
        models=tuple(
            {"name": s.name, "kind": s.kind, "path": str(s.path), "sha256": s.sha256} for s in subjects
        ),
        documents=tuple(_by_kind(documents) for documents in found),
        rows=rows,
        same_counts=same,
        pairs=pairs,
    )


def models_and_root(paths: Sequence[Path]) -> tuple[list[Path], Path]:
    """Split `MODEL... [DATA]`: a last path that is no model is the data root. Raises UsageError."""
    models, last = list(paths), paths[-1]
    # A file is one of CLIP weights: no data root is one.
    is_model = str(last) == DEFAULT or any(
        file.is_file() for file in (last, last / MANIFEST_NAME, last / MODEL_FILE)
    )
    root = None if is_model else models.pop()
    if not models:
        raise UsageError(f"{last}: neither a bundle nor a checkpoint (name models first, then the data root)")
    return models, data_root(root)


def _kept(out: Path | None, subject: Subject, folder: Path, kind: Kind, size: Asked) -> dict[str, Any]:
    if out is None:
        return _measure(subject, folder, kind, size)
    key = {
        "sha256": subject.sha256,
        "folder": str(folder.resolve()),
        "kind": kind,
        "image_size": list(size) if isinstance(size, tuple) else size,
        "code": _code_hash(),
    }
    file = out / f"{subject.sha256[:12]}-{folder.name}-{kind}.json"
    if file.is_file():
        kept = json.loads(file.read_text("utf-8"))
        if {name: kept.get(name) for name in key} == key:
            return dict(kept["document"])
    document = _measure(subject, folder, kind, size)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({**key, "document": document}).encode())
    return document


@cache
def _code_hash() -> str:
    """Of what the figures depend on beside model and data: all code that models run in, and the lists of
    validation images."""
    package = Path(training.__file__).parent
    files = [*package.rglob("*.py"), *package.glob("splits/*.txt"), *Path(edge.__file__).parent.rglob("*.py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _measure(subject: Subject, folder: Path, kind: Kind, size: Asked) -> dict[str, Any]:
    if kind == "zeroshot":
        return evaluate_zeroshot(subject, folder).as_json()
    if kind == "retrieval":
        return evaluate_retrieval(subject, folder, "test").as_json()
    report = evaluate_count(subject, folder, "test", image_size=size)
    return {**report.as_json(), "counted": report.counted.tolist()}


def _row(figure: Figure, documents: Sequence[dict[str, Any]]) -> Row:
    values = tuple(_value(figure, document) for document in documents)
    first = values[0]
    others = [value.value for value in values[1:] if value is not None]
    difference = max(abs(value - first.value) for value in others) if first is not None and others else None
    return Row(figure, documents[0]["n"], values, difference)


def _value(figure: Figure, document: dict[str, Any]) -> Value | None:
    value = _at(document, figure.path)
    if value is None:
        return None
    low, high = (_at(document, path) if path else None for path in (figure.low, figure.high))
    return Value(value, low, high)


def _at(document: Any, path: Sequence[str]) -> float | None:
    for name in path:
        document = document[name]
    return None if document is None else float(document)


def _by_kind(documents: dict[tuple[str, Kind], dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (dataset, kind), document in documents.items():
        shown = {name: value for name, value in document.items() if name != "counted"}
        found.setdefault(kind, {})[dataset] = shown
    return found


def _agreement(found: Sequence[dict[tuple[str, Kind], dict[str, Any]]]) -> tuple[float | None, int]:
    same = pairs = 0
    for key, document in found[0].items():
        if key[1] == "count":
            others = [documents[key]["counted"] for documents in found[1:]]
            for image, counts in enumerate(document["counted"]):
                for label, number in enumerate(counts):
                    same += all(other[image][label] == number for other in others)
                    pairs += 1
    return (same / pairs if pairs and len(found) > 1 else None), pairs
