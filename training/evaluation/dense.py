"""`remoteclip eval dense`: which prompt wins at every pixel, before and after rectification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge.frames import RgbImage
from edge.prompts.bank import PromptBank
from edge.prompts.rectification import Rectification
from firmware_cfg.errors import UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import AnyCheckpoint
from training.evaluation.dense_model import Cells, DenseModel, Size, answers
from training.evaluation.dense_overlap import Compared, Counts, compared, confusion
from training.evaluation.dense_truth import UNASKED, Classes, DenseTask, dense_task
from training.pools import read_rgb
from training.progress import track

Others = Literal["background", "ignore"]
OTHERS: tuple[Others, ...] = ("background", "ignore")
BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class DenseReport:
    """Dense labels on one split of a set of masks.

    Attributes:
        dataset, split, n: what it is, and the number of images.
        left_out: images that the model was rectified on, and that are therefore not reported on.
        image_size: model input (width, height), or None where every image had the one that suits it.
        rectified: whether `after` is with a rectification. Else there is no `before`.
        prompts: what each stands for in the set; other_classes: the set's classes that no prompt names.
        background: how a pixel may be answered "none of them": by sentences, below a score, or never.
        others: the way that the flat figures of `as_json` are of.
        open_pixels: share of pixels that the annotators left open; they are never asked about.
        ways: by Others. "background": pixels of other classes are one more class, which background sentences
            or the threshold may claim, and a prompt that claims them is wrong. "ignore": they are not asked
            about, so that nothing punishes a prompt that spills over them.
    """

    dataset: str
    split: str
    n: int
    left_out: int
    image_size: Size | None
    rectified: bool
    prompts: dict[str, tuple[str, ...]]
    other_classes: tuple[str, ...]
    background: str
    others: Others
    open_pixels: float
    ways: dict[Others, Compared]

    @property
    def chosen(self) -> Compared:
        """The way that `others` names."""
        return self.ways[self.others]

    def as_json(self) -> dict[str, Any]:
        """The object that the command prints last; miou and classes are those after, by `others`."""
        after = self.chosen.after
        before = self.chosen.before
        return {
            **{name: value for name, value in asdict(self).items() if name != "ways"},
            "miou": after.miou,
            "miou_low": after.low,
            "miou_high": after.high,
            "miou_before": None if before is None else before.miou,
            "gain": self.chosen.gain,
            "gain_low": self.chosen.gain_low,
            "gain_high": self.chosen.gain_high,
            "classes": {name: asdict(one) for name, one in after.classes.items()},
            "ways": {name: asdict(way) for name, way in self.ways.items()},
        }


@dataclass(frozen=True, slots=True)
class DenseOptions:
    """How to look and to count.

    Attributes:
        classes: by prompt id, names of the set's classes that it stands for; default: the one of its name.
        form: format of the set; default: detected.
        image_size: (width, height) of the model input; default: the list's, else what suits the image.
        least: calibrated score (0 to 1) below which a pixel is background.
        others: see DenseReport; default: background where list or `least` let it be answered, else ignore.
        plot: folder for the maps of `maps` images and the figure of classes.
    """

    classes: Mapping[str, Sequence[str]]
    form: str | None = None
    image_size: Size | None = None
    least: float | None = None
    others: Others | None = None
    plot: Path | None = None
    maps: int = 12


def evaluate_dense(
    checkpoint: AnyCheckpoint,
    folder: Path,
    split: str,
    prompts: PromptList,
    options: DenseOptions,
    rectification: Rectification | None,
) -> DenseReport:
    """Label every pixel of a split by the prompt that wins there, with and without `rectification`.

    Raises:
        UsageError: a prompt of kind scene, or standing for no class; a tile that the tower does not take.
        DataError, MissingSplit: see `dense_task`; or a mask or image cannot be read.
        ConfigErrors: see `build_prompt_bank`.
    """
    if scenes := [prompt.id for prompt in prompts.prompts if prompt.kind == "scene"]:
        raise UsageError(f"prompt {scenes[0]} is of kind scene, and has no map (make it kind: object)")
    model = DenseModel(checkpoint)
    size = options.image_size or prompts.image_size
    if size is not None:
        model.check_size(size)
    ids = [prompt.id for prompt in prompts.prompts]
    noted = checkpoint.metrics.get("rectification", {}).get("images_sha256", ())
    task = dense_task(folder, split, ids, options.classes, options.form, frozenset(noted))
    banks = [model.bank(prompts, None)]
    if rectification is not None:
        banks.append(model.bank(prompts, rectification))
    shown = {*np.linspace(0, len(task.images) - 1, min(options.maps, len(task.images))).round().tolist()}
    confusions = np.zeros((len(banks), len(task.images), len(ids) + 1, len(ids) + 1), np.int64)
    asked = every = 0
    for number, path in enumerate(track(task.images, f"{task.dataset}: labelling")):
        truth = task.truth(number)
        image = read_rgb(path)
        seen = model.look(RgbImage(image), size)
        labels = [_labels(model, seen, bank, truth.shape, options.least) for bank in banks]
        for one, found in zip(confusions, labels, strict=True):
            one[number] = confusion(truth, found, len(ids))
        asked, every = asked + int((truth != UNASKED).sum()), every + truth.size
        if options.plot is not None and number in shown:
            from training.evaluation.dense_plot import draw_maps

            draw_maps(options.plot / f"{path.stem}.png", image, truth, labels, task.prompts)
    report = _report(task, prompts, options, size, confusions, 1 - asked / every)
    if options.plot is not None:
        from training.evaluation.dense_plot import draw_classes

        draw_classes(report, options.plot / "classes.png")
    return report


def _labels(
    model: DenseModel, seen: Cells, bank: PromptBank, shape: tuple[int, int], least: float | None
) -> Classes:
    return answers(model.logits(seen, bank), bank, model.calibration, seen, shape, least)


def _report(
    task: DenseTask,
    prompts: PromptList,
    options: DenseOptions,
    size: Size | None,
    confusions: Counts,
    open_pixels: float,
) -> DenseReport:
    ways = dict[Others, Compared]()
    for way in OTHERS:
        counted = confusions.copy()
        if way == "ignore":
            counted[:, :, -1] = 0
        ways[way] = compared(counted, (*task.prompts, BACKGROUND))
    answered = [f"{len(prompts.background)} sentences"] if prompts.background else []
    answered += [] if options.least is None else [f"score below {options.least:g}"]
    return DenseReport(
        dataset=task.dataset,
        split=task.split,
        n=len(task.images),
        left_out=task.left_out,
        image_size=size,
        rectified=len(confusions) > 1,
        prompts=dict(zip(task.prompts, task.names, strict=True)),
        other_classes=task.others,
        background=", ".join(answered) or "never",
        others=options.others or ("background" if answered else "ignore"),
        open_pixels=open_pixels,
        ways=ways,
    )
