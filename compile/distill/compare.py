"""Two students on validation images, image by image: `python -m compile.distill.compare ALONE DISTILLED`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from compile.gate.pairs import answered, blind_pairs
from training.data_root import data_root
from training.evaluation.count import evaluate_count
from training.evaluation.intervals import bootstrap
from training.evaluation.scenes import RECALL_AT, best_ranks
from training.evaluation.subject import Subject, open_subject
from training.readers import captions
from training.recipe import Recipe, default_recipe, load_recipe

Figures = NDArray[np.float64]
_TILE = (640, 384)  # the default model input


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of two models on the same n images; the second's less the first's, with its 95% interval."""

    name: str
    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float


def compared(name: str, first: Figures, second: Figures) -> Compared:
    """Compare the means of per-image figures (N,), resampling images: both models keep the same ones."""
    apart = second - first
    low, high = bootstrap(len(apart), lambda index: apart[index].mean(axis=1))
    return Compared(
        name, len(apart), float(first.mean()), float(second.mean()), float(apart.mean()), low, high
    )


def over_sets(name: str, pairs: Sequence[tuple[Figures, Figures]], seed: int = 0) -> Compared:
    """The mean over sets of each set's mean; images are resampled within their set."""
    rng = np.random.default_rng(seed)
    apart = [second - first for first, second in pairs]
    drawn = [each[rng.integers(0, len(each), (2000, len(each)))].mean(axis=1) for each in apart]
    low, high = np.quantile(np.mean(drawn, axis=0), (0.025, 0.975))
    one, two = (float(np.mean([pair[i].mean() for pair in pairs])) for i in range(2))
    return Compared(name, sum(map(len, apart)), one, two, two - one, float(low), float(high))


def count_errors(subject: Subject, folder: Path, form: str, classes: Sequence[str]) -> Figures:
    """|count - truth| / (truth + 1) of every validation image, the mean over classes, (N,).

    Thresholds are chosen on the same images, for either model alike.
    """
    report = evaluate_count(subject, folder, "val", form=form, classes=classes, image_size=_TILE)
    error: Figures = (np.abs(report.counted - report.true) / (report.true + 1)).mean(axis=1)
    return error


def image_recalls(subject: Subject, folder: Path) -> Figures:
    """Every validation image's part in the mean of the six recalls, (N,): its own hit and its captions'."""
    samples = captions.read_karpathy(folder, "val")
    counts = np.array([len(sample.captions) for sample in samples])
    text = subject.text_embeddings([t for sample in samples for t in sample.captions], f"{folder.name}: text")
    image = subject.image_embeddings([sample.path for sample in samples], f"{folder.name}: images")
    owner = np.repeat(np.arange(len(samples)), counts)
    of_image, of_text = best_ranks(image @ text.T, owner)
    starts = np.cumsum(counts) - counts
    own = sum((of_image < k).astype(np.float64) for k in RECALL_AT)
    back = sum(np.add.reduceat((of_text < k).astype(np.float64), starts) for k in RECALL_AT)
    # Images with more captions weigh more, as in recall over all texts.
    part: Figures = (own + np.asarray(back) / counts.mean()) / (2 * len(RECALL_AT))
    return part


def pairs_told_apart(first: Subject, second: Subject, folder: Path) -> tuple[Figures, Figures]:
    """Which blind pairs of the validation images each model tells apart, (Q,) of 0 and 1; see gate/pairs.py.

    The pairs are those of either model: those of one alone are where it, not the other, is at its worst.
    """
    samples = captions.read_karpathy(folder, "val")
    sentences = [sample.captions for sample in samples]
    images = [model.image_embeddings([sample.path for sample in samples]) for model in (first, second)]
    pairs = np.unique(np.concatenate([blind_pairs(rows, sentences) for rows in images]), axis=0)
    texts = [model.text_embeddings([own[0] for own in sentences]) for model in (first, second)]
    one, two = (answered(*rows, pairs).astype(np.float64) for rows in zip(images, texts, strict=True))
    return one, two


def compare(first: Subject, second: Subject, recipe: Recipe, root: Path) -> list[Compared]:
    """Counting by set and over the sets, retrieval and blind pairs, on the recipe's validation images."""
    rows, pairs = [], []
    for spec in recipe.object_sets:
        pair = [
            count_errors(model, root / spec.name, spec.format, list(spec.objects))
            for model in (first, second)
        ]
        rows.append(compared(f"count error, {spec.name}", pair[0], pair[1]))
        pairs.append((pair[0], pair[1]))
    rows.append(over_sets("count error, mean of sets", pairs))
    for caption_set in recipe.caption_sets:
        own, other = (image_recalls(model, root / caption_set.name) for model in (first, second))
        rows.append(compared(f"mean recall, {caption_set.name}", own, other))
        told = pairs_told_apart(first, second, root / caption_set.name)
        if len(told[0]):
            rows.append(compared(f"pair accuracy, {caption_set.name}", *told))
    return rows


def main(
    first: Annotated[Path, typer.Argument(help="Checkpoint folder or bundle.")],
    second: Annotated[Path, typer.Argument(help="The one to compare with it.")],
    recipe: Annotated[Path | None, typer.Option(help="Whose sets; default: the shipped model's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data root; default: $REMOTECLIP_DATA.")] = None,
) -> None:
    """Compare two models on validation images and print a Markdown table, then one JSON object."""
    loaded = load_recipe(recipe or default_recipe())
    rows = compare(open_subject(first), open_subject(second), loaded, data_root(data))
    print("| figure | images or pairs | first | second | second - first (95%) |\n|---|---|---|---|---|")
    for row in rows:
        ends = f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
        print(f"| {row.name} | {row.n} | {row.first:.3f} | {row.second:.3f} | {ends} |")
    print(json.dumps({"rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    typer.run(main)
