"""`remoteclip eval probe`: how well a linear classifier tells classes apart by frozen image embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation.classification import Classified
from training.evaluation.labelled import divide, embed
from training.evaluation.linear import CANDIDATES, EPOCHS, Setting, Training, choose, classify, search

if TYPE_CHECKING:
    from training.evaluation.subject import Subject


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """A linear probe on the test images: the setting that validation chose, and how it did there."""

    dataset: str
    n_train: int
    n_val: int
    epochs: int
    candidates: int
    setting: Setting
    validation_top1: float
    found: Classified

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last."""
        return {
            "dataset": self.dataset,
            **self.found.as_json(),
            "n_train": self.n_train,
            "n_val": self.n_val,
            "learning_rate": self.setting.learning_rate,
            "weight_decay": self.setting.weight_decay,
            "epochs": self.epochs,
            "candidates": self.candidates,
            "validation_top1": self.validation_top1,
        }

    def plot(self, path: Path) -> None:
        """Draw the confusion matrix. Raises UsageError, MissingExtra."""
        from training.evaluation.plots import confusion_figure, save_figure

        title = f"{self.dataset}: linear probe, top-1 {self.found.top1:.1%} of {self.found.n}"
        save_figure(confusion_figure(self.found.confusion, self.found.names, title), path)


def evaluate_probe(
    subject: Subject,
    folder: Path,
    *,
    candidates: int = CANDIDATES,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> ProbeReport:
    """Train on the training images, choose among settings on validation, report on test once.

    Args:
        subject: the model; only its image embeddings are used.
        folder: class folders, or a caption set with labels (see divide).
        candidates: settings tried, the paper's among them.
        epochs: passes over the training images.
        seed: of the settings drawn and of the batches.

    Raises RemoteclipError or DataError where the set does not suit.
    """
    division = divide(folder)
    training = Training(search(candidates, seed), epochs=epochs, seed=seed)
    images = embed(subject, division)
    chosen = choose(
        training,
        (images.train, images.train_labels),
        (images.val, images.val_labels),
        len(division.names),
        f"{division.dataset}: linear probe",
    )
    found = Classified(division.names, images.test_labels, classify(chosen.weights, images.test))
    return ProbeReport(
        division.dataset,
        len(images.train),
        len(images.val),
        epochs,
        candidates,
        chosen.setting,
        chosen.validation_top1,
        found,
    )
