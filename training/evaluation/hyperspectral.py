"""`eval hyperspectral`: what each stage of SPECIAL is worth on a scene with ground truth, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32
from training.evaluation.hyperspectral_scores import MapScore, Stage, score_map
from training.evaluation.hyperspectral_truth import Truth
from training.evaluation.plots import save_figure
from training.hyperspectral.maps import colour_of
from training.hyperspectral.noisy import NoisyTraining, standardised
from training.hyperspectral.run import Scene, unseen_classes
from training.hyperspectral.zeroshot import SINGLE, U8, Passes, ZeroShot

if TYPE_CHECKING:
    from rich.table import Table

Labels: TypeAlias = NDArray[np.int64]

ZERO_SHOT, SCALED, TRAINED = "zero-shot", "+ resolution scaling", "+ noisy-label training"
FEW = (5, 10)
"""Labels a class of the supervised reference."""


@dataclass(frozen=True, slots=True, eq=False)
class HyperspectralReport:
    """Stages and supervised references of one scene; `maps` are the first seed's, for the picture.

    alike: of each class the one whose sentences the model finds most alike, and their cosine.
    """

    dataset: str
    model: str
    names: list[str]
    n: int
    seeds: int
    stages: list[Stage]
    references: list[Stage]
    unseen: list[str]
    alike: list[tuple[str, str, float]]
    image: U8
    truth: Labels
    maps: list[tuple[str, Labels]]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last; oa, aa and kappa are the last stage's."""
        last = self.stages[-1]
        return {
            "dataset": self.dataset,
            "model": self.model,
            "n": self.n,
            "seeds": self.seeds,
            "classes": self.names,
            **{what: last.mean(what) for what in ("oa", "aa", "kappa")},
            **{f"{what}_ci95": list(last.interval(what)) for what in ("oa", "aa", "kappa")},
            "stages": [stage.as_json() for stage in self.stages],
            "references": [stage.as_json() for stage in self.references],
            "unseen_classes": self.unseen,
            "alike": [
                {"class": own, "nearest": other, "cosine": cosine} for own, other, cosine in self.alike
            ],
        }

    def table(self) -> Table:
        """For people: a row a stage, the mean over seeds with its interval, and each class's recall."""
        from rich.table import Table

        alike = ", ".join(f"{own} and {other} {cosine:.2f}" for own, other, cosine in self.alike)
        table = Table(
            title=f"{self.dataset}: {self.n:,} labelled pixels, {self.model}, {self.seeds} seeds",
            caption=f"cosine of the sentences of {alike}",
        )
        for heading in ("stage", "OA", "AA", "kappa"):
            table.add_column(heading, justify="left" if heading == "stage" else "right", no_wrap=True)
        for name in self.names:  # long names break, so that figures need not
            table.add_column(name, justify="right", max_width=12)
        for stage in (*self.stages, *self.references):
            figures = [_with_interval(stage, what) for what in ("oa", "aa", "kappa")]
            recall = ["-" if share is None else f"{share:.2f}" for share in stage.recall()]
            table.add_row(stage.name, *figures, *recall)
        return table

    def plot(self, path: Path) -> None:
        """The scene, its truth and every stage's map, with a legend."""
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch

        figure = Figure((3.2 * (2 + len(self.maps)), 4.2), layout="constrained")
        panels = figure.subplots(1, 2 + len(self.maps))
        panels[0].imshow(self.image)
        shown = [("scene", None), ("truth (white: none)", self.truth), *self.maps]
        palette = np.array(
            [*(colour_of(number) for number in range(len(self.names))), (255, 255, 255)], np.uint8
        )
        for panel, (title, labels) in zip(panels, shown, strict=True):
            if labels is not None:
                panel.imshow(palette[labels], interpolation="nearest")
            panel.set_title(title)
            panel.set_axis_off()
        patches = [
            Patch(color=[part / 255 for part in colour_of(number)], label=name)
            for number, name in enumerate(self.names)
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))
        save_figure(figure, path)


def evaluate_hyperspectral(
    scene: Scene,
    truth: Truth,
    *,
    seeds: int,
    zero: ZeroShot,
    training: NoisyTraining,
    passes: Passes | None = None,
    epoch_done: Callable[[int, int], None] | None = None,
) -> HyperspectralReport:
    """Run every stage and score it; the truth is read after the last map is made.

    epoch_done is called with the seed and the number of its epochs done.
    """
    single = scene.zero_shot(SINGLE)
    scaled = scene.zero_shot(zero, passes)
    trained: list[Labels] = []
    for seed in range(seeds):
        trainer = scene.trainer(scaled, training, seed)
        for epoch in trainer.run():
            if epoch_done:
                epoch_done(seed, epoch)
        trained.append(trainer.labels().label)

    classes = len(scene.names)

    def stage(name: str, maps: Sequence[Labels]) -> Stage:
        return Stage(name, tuple(score_map(labels, truth.label, classes) for labels in maps))

    stages = [stage(ZERO_SHOT, [single.label]), stage(SCALED, [scaled.label]), stage(TRAINED, trained)]
    spectra = standardised(scene.cube.values, scene.cube.valid)
    maps = [(ZERO_SHOT, single.label), (SCALED, scaled.label), (TRAINED, trained[0])]
    return HyperspectralReport(
        dataset=scene.cube.path.stem,
        model=scene.checkpoint.spec.model,
        names=scene.names,
        n=truth.n,
        seeds=seeds,
        stages=stages,
        references=[supervised(spectra, truth.label, few, seeds, classes) for few in FEW],
        unseen=unseen_classes(scaled, scene.names),
        alike=nearest_names(scene.sentences, scene.names),
        image=scene.image,
        truth=truth.label,
        maps=maps,
    )


def nearest_names(sentences: F32, names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Of each class the other one whose sentences, (C, D) unit rows, are nearest, and their cosine."""
    cosine = sentences @ sentences.T
    np.fill_diagonal(cosine, -2.0)
    nearest = cosine.argmax(axis=1).tolist()
    return [
        (own, names[k], float(cosine[row, k]))
        for row, (own, k) in enumerate(zip(names, nearest, strict=True))
    ]


def supervised(spectra: F32, truth: Labels, few: int, seeds: int, classes: int) -> Stage:
    """What a support vector machine makes of spectra (H, W, B) from `few` labelled pixels a class.

    They are drawn anew for each seed, and are left out of its score.
    """
    from sklearn.svm import SVC

    scores: list[MapScore] = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        drawn = [
            rng.choice(members, min(few, len(members) // 2), replace=False)
            for number in range(classes)
            if len(members := np.flatnonzero(truth == number)) >= 2
        ]
        chosen = np.concatenate(drawn)
        flat = spectra.reshape(-1, spectra.shape[2])
        machine = SVC(C=100.0, gamma="scale").fit(flat[chosen], truth.ravel()[chosen])
        rest = truth.copy()
        rest.flat[chosen] = -1
        scores.append(score_map(machine.predict(flat).reshape(truth.shape), rest, classes))
    return Stage(f"supervised: SVM, {few} labels a class", tuple(scores))


def _with_interval(stage: Stage, what: str) -> str:
    if len(stage.scores) == 1:
        return f"{stage.mean(what):.3f}"
    low, high = stage.interval(what)
    return f"{stage.mean(what):.3f} [{low:.3f}, {high:.3f}]"
