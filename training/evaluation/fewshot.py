"""`remoteclip eval fewshot`: a linear classifier from a handful of images a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import bootstrap_mean
from training.evaluation.labelled import divide, embed
from training.evaluation.linear import CANDIDATES, EPOCHS, Setting, Training, choose, classify, search
from training.evaluation.protocols import class_embeddings, prompt_protocol
from training.progress import track

if TYPE_CHECKING:
    from training.evaluation.subject import Subject

SHOTS = (1, 4, 8, 16, 32)
DRAWS = 5
MOST_VALIDATION = 4
"""Images a class that settings are chosen on, or as many as the shots: more would be the larger training set
(CoOp's protocol)."""


@dataclass(frozen=True, slots=True)
class Shots:
    """What some shots a class reach on test.

    top1 with its 95% interval over test images, each counted with the share of draws that got it right;
    spread: standard deviation of top1 over the draws; fewest: training images of the class that had the
    fewest, where a set has fewer than asked for; settings: what validation chose, by draw.
    """

    top1: float
    top1_low: float
    top1_high: float
    spread: float
    fewest: int
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class FewShotReport:
    """Few-shot classification of n test images, by the number of shots; zero_shot by our own prompts."""

    dataset: str
    n: int
    classes: int
    draws: int
    epochs: int
    candidates: int
    protocol: str
    zero_shot: float
    shots: dict[int, Shots]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        by_shots = {
            str(k): asdict(s) | {"settings": list(map(asdict, s.settings))} for k, s in self.shots.items()
        }
        return {**asdict(self), "shots": by_shots}

    def plot(self, path: Path) -> None:
        """Draw top-1 by shots with intervals, and zero-shot beside it. Raises UsageError, MissingExtra."""
        from training.evaluation.plots import Curve, curves_figure, save_figure

        at = sorted(self.shots)
        curve = Curve(
            f"linear, mean of {self.draws} draws",
            at,
            [self.shots[k].top1 for k in at],
            [self.shots[k].top1_low for k in at],
            [self.shots[k].top1_high for k in at],
        )
        marks = {f"zero-shot, prompts {self.protocol}": self.zero_shot}
        title = f"{self.dataset}: few-shot, {self.classes} classes, n = {self.n}"
        save_figure(curves_figure([curve], title, ("images a class", "top-1"), marks), path)


def evaluate_fewshot(
    subject: Subject,
    folder: Path,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = DRAWS,
    candidates: int = CANDIDATES,
    epochs: int = EPOCHS,
    protocol: str = "default",
    seed: int = 0,
) -> FewShotReport:
    """Train on `shots` images a class, choose settings on as few of validation, report on all test images.

    Args:
        subject: the model.
        folder: class folders, or a caption set with labels (see divide).
        shots: images a class, each at least 1.
        draws: how often the shots are drawn anew.
        candidates, epochs: see evaluate_probe.
        protocol: prompts of the zero-shot figure that stands beside.
        seed: of the draws and of the settings.

    Raises UsageError for an unknown protocol, RemoteclipError or DataError where the set does not suit.
    """
    prompts = prompt_protocol(protocol)
    division = divide(folder)
    text = class_embeddings(subject, prompts, division.dataset, division.names)
    images = embed(subject, division)
    classes = len(division.names)
    training = Training(search(candidates, seed), epochs=epochs, seed=seed)
    tasks = [(k, draw) for k in sorted(set(shots)) for draw in range(draws)]
    right: dict[int, list[NDArray[np.bool_]]] = {k: [] for k, _ in tasks}
    settings: dict[int, list[Setting]] = {k: [] for k, _ in tasks}
    for k, draw in track(tasks, f"{division.dataset}: few-shot"):
        rng = np.random.default_rng((seed, k, draw))
        few = drawn(images.train_labels, k, rng)
        few_val = drawn(images.val_labels, min(k, MOST_VALIDATION), rng)
        chosen = choose(
            training,
            (images.train[few], images.train_labels[few]),
            (images.val[few_val], images.val_labels[few_val]),
            classes,
        )
        right[k].append(classify(chosen.weights, images.test) == images.test_labels)
        settings[k].append(chosen.setting)
    fewest = int(np.bincount(images.train_labels, minlength=classes).min())
    return FewShotReport(
        dataset=division.dataset,
        n=len(images.test),
        classes=classes,
        draws=draws,
        epochs=epochs,
        candidates=candidates,
        protocol=protocol,
        zero_shot=float(((images.test @ text.T).argmax(axis=1) == images.test_labels).mean()),
        shots={k: _shots(np.stack(hits), min(k, fewest), settings[k]) for k, hits in right.items()},
    )


def drawn(labels: NDArray[np.int64], shots: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `shots` images of every class, or of all that a class has, in ascending order."""
    parts = [
        rng.permutation(np.flatnonzero(labels == label))[:shots] for label in range(int(labels.max()) + 1)
    ]
    return np.sort(np.concatenate(parts))


def _shots(right: NDArray[np.bool_], fewest: int, settings: Sequence[Setting]) -> Shots:
    low, high = bootstrap_mean(right.mean(axis=0))
    return Shots(float(right.mean()), low, high, float(right.mean(axis=1).std()), fewest, tuple(settings))
