"""Calibration of a checkpoint on validation images: the null bank and the two Platt fits.

An unseen prompt has no validation data, so nothing here is a table of prompts: one fit serves every prompt,
and the null bank lets the drone find any prompt's own threshold at a stated false-alarm rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundle.calibration import Calibration
from edge.bundle.load import DEFAULT, load_bundle
from edge.engines.base import F32, EngineOutput
from edge.frames import RgbImage
from edge.letterbox import Letterbox, best_image_size, letterbox
from firmware_cfg.errors import RemoteclipError, UsageError
from training.checkpoint import AnyCheckpoint
from training.evaluation.vocabulary import OBJECT_SENTENCES
from training.mean_embeddings import mean_embeddings
from training.models.lite import POSITION_WIDTH
from training.models.lookup_graph import NO_PEAK
from training.pools import read_rgb
from training.progress import track
from training.readers import OBJECT_READERS, captions
from training.recipe import ObjectSet, Recipe
from training.samples import ObjectSample
from training.splits import read_part
from training.torch_engine import TorchImageEngine, TorchTextEncoder, model_facts

NULL_CELLS = 3072
NULL_SCENES = 1024
FALSE_ALARM_OBJECT = 0.001
FALSE_ALARM_SCENE = 0.05


@dataclass(frozen=True, slots=True)
class Evidence:
    """What validation images say about objects.

    logit (K,) float64 and right (K,) bool: how strongly a class's prompt claims one of its peaks, and whether
    an object of the class is there; null (J, D + E) float32: strong places where nothing is annotated;
    scene (N, D) float32: the embeddings of the images themselves.
    """

    logit: NDArray[np.float64]
    right: NDArray[np.bool_]
    null: F32
    scene: F32


class _Model:
    """A checkpoint in torch that looks at image files as the drone will."""

    def __init__(self, checkpoint: AnyCheckpoint, sizes: Sequence[tuple[int, int]]) -> None:
        self.stride = model_facts(checkpoint).stride
        self._checkpoint, self._sizes = checkpoint, sizes
        self._encoder = TorchTextEncoder(checkpoint)
        self._engines: dict[tuple[int, int], TorchImageEngine] = {}

    def rows(self, phrases: Sequence[str]) -> tuple[F32, F32]:
        """One row a phrase, the unit mean of its sentences, and its bias: (P, D + E), (P,), as on the drone.

        Position columns and bias are zero unless the checkpoint is rectified.
        """
        unit = mean_embeddings(
            self._encoder, [[form.format(phrase) for form in OBJECT_SENTENCES] for phrase in phrases]
        )
        rectification = self._checkpoint.rectification
        if rectification is None:
            return np.pad(unit, ((0, 0), (0, POSITION_WIDTH))), np.zeros(len(unit), np.float32)
        bias, position = rectification.fill(unit)
        return np.concatenate((unit, position), axis=1), bias

    def look(self, path: Path, rows: F32, bias: F32) -> tuple[EngineOutput, Letterbox]:
        """What the model says of an image in the tile that suits it best."""
        image = RgbImage(read_rgb(path))
        size = best_image_size(image.width, image.height, self._sizes)
        if size not in self._engines:
            self._engines[size] = TorchImageEngine(self._checkpoint, size)
        tile, fit = letterbox(image, *size)
        return self._engines[size].infer(tile[None], rows, bias), fit


def calibrate(
    checkpoint: AnyCheckpoint, recipe: Recipe, root: Path, sizes: Sequence[tuple[int, int]]
) -> Calibration:
    """Fit a checkpoint's calibration on the validation images of its recipe's sets.

    sizes: (width, height) of the tiles that its bundle will take.

    A recipe without caption sets says nothing of whole images: these keep the shipped bundle's fit and null
    scenes, which suits checkpoints that go on from what ships.
    """
    shipped = None if recipe.caption_sets else _shipped_scenes(checkpoint)
    model = _Model(checkpoint, sizes)
    found = [_object_evidence(model, spec, root) for spec in recipe.object_sets]
    logit = np.concatenate([e.logit for e in found])
    right = np.concatenate([e.right for e in found])
    if not right.any() or right.all():
        raise RemoteclipError(
            f"{root}: validation images show no objects, or nothing else; nothing to calibrate on"
        )
    if shipped is None:
        cosine, same, captioned = _scene_evidence(model, recipe, root)
        if not same.any() or same.all():
            raise RemoteclipError(
                f"{root}: validation captions have no scene labels of the recipe to calibrate on"
            )
        platt_scene = platt(cosine, same, balanced=True)
    else:
        platt_scene, captioned = shipped.platt_scene, shipped.null_scenes
    rng = np.random.default_rng(0)
    return Calibration(
        null_cells=_sample(np.concatenate([e.null for e in found]), NULL_CELLS, rng),
        null_scenes=_sample(np.concatenate([*(e.scene for e in found), captioned]), NULL_SCENES, rng),
        platt_object=platt(logit, right),
        platt_scene=platt_scene,
        false_alarm_rate_object=FALSE_ALARM_OBJECT,
        false_alarm_rate_scene=FALSE_ALARM_SCENE,
    )


def _shipped_scenes(checkpoint: AnyCheckpoint) -> Calibration:
    """The shipped bundle's calibration, for a checkpoint that goes on from what ships."""
    bundle = load_bundle(DEFAULT)
    width = model_facts(checkpoint).embedding_width
    if width != bundle.manifest.embedding_width:
        raise UsageError(
            f"the recipe has no caption sets to calibrate whole images on, and the shipped bundle's fit is of"
            f" embeddings {bundle.manifest.embedding_width} wide, not {width} (give it caption_sets)"
        )
    return bundle.calibration


def platt(
    value: NDArray[np.float64], right: NDArray[np.bool_], balanced: bool = False
) -> tuple[float, float]:
    """(a, c) of sigmoid(a * value + c) by logistic regression; balanced gives both outcomes equal weight.

    Raises RemoteclipError where the score does not rise with the value.
    """
    from sklearn.linear_model import LogisticRegression

    # C: no regularisation to speak of, there are two parameters and thousands of points.
    model = LogisticRegression(C=1e6, class_weight="balanced" if balanced else None, max_iter=1000)
    model.fit(value[:, None], right)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        raise RemoteclipError(
            "the checkpoint scores what is there no higher than what is not (train it longer)"
        )
    return slope, offset


def _object_evidence(model: _Model, spec: ObjectSet, root: Path) -> Evidence:
    names, samples = read_part(OBJECT_READERS[spec.format], root / spec.name, "val")
    columns = [names.index(name) for name in spec.objects]
    rows, bias = model.rows([spec.objects[name][0] for name in spec.objects])
    logits, rights, nulls, scenes = [], [], [], []
    for sample in track(samples, f"calibrating on {spec.name}"):
        output, fit = model.look(sample.path, rows, bias)
        scenes.append(output.embedding)
        centres = _tile_centres(output, fit)
        near = _near(centres, sample, columns, model.stride / fit.scale)
        inside = fit.holds(output.place_box[0])
        peak = output.place_logit[0]
        owner = peak.argmax(axis=1)
        claimed = inside & (peak.max(axis=1) > NO_PEAK / 2)
        logits.append(peak[np.arange(len(peak)), owner][claimed])
        rights.append(near[np.arange(len(near)), owner][claimed])
        free = inside & ~near.any(axis=1) & ~_ignored(centres, sample)
        nulls.append(output.place_embedding[0][free][: 2 * NULL_CELLS // max(len(samples), 1)])
    if not samples:
        width = rows.shape[1]
        none, scene = np.empty((0, width), np.float32), np.empty((0, width - POSITION_WIDTH), np.float32)
        return Evidence(np.empty(0), np.empty(0, np.bool_), none, scene)
    return Evidence(
        np.concatenate(logits).astype(np.float64),
        np.concatenate(rights),
        np.concatenate(nulls),
        np.concatenate(scenes),
    )


def _scene_evidence(
    model: _Model, recipe: Recipe, root: Path
) -> tuple[NDArray[np.float64], NDArray[np.bool_], F32]:
    """Validation images: cosines with every scene label, whether the label is theirs, and embeddings."""
    cosines, same, embedded = [], [], []
    for spec in recipe.caption_sets:
        labels = list(spec.labels)
        rows, bias = model.rows([spec.labels[label][0] for label in labels])
        for sample in track(captions.read_karpathy(root / spec.name, "val"), f"calibrating on {spec.name}"):
            output, _ = model.look(sample.path, rows, bias)
            embedded.append(output.embedding)
            cosines.append(output.scene[0])
            same.append([label == sample.label for label in labels])
    if not cosines:
        raise RemoteclipError(f"{root}: the caption sets have no validation images to calibrate on")
    return np.concatenate(cosines).astype(np.float64), np.concatenate(same), np.concatenate(embedded)


def _tile_centres(output: EngineOutput, fit: Letterbox) -> F32:
    """Centres of an output's places in pixels of the source image, (M, 2)."""
    boxes = fit.to_frame(output.place_box[0])
    centres: F32 = ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32)
    return centres


def _near(centres: F32, sample: ObjectSample, columns: Sequence[int], cell: float) -> NDArray[np.bool_]:
    """Whether each place lies on an object of each class: within half its size, at least a cell; (M, C).

    cell: side of a cell in pixels of the source image.
    """
    reach = np.maximum(sample.sizes / 2, cell)
    apart = np.abs(centres[:, None] - sample.centres)
    on = np.all(apart <= reach, axis=2)
    return np.stack([on[:, sample.labels == column].any(axis=1) for column in columns], axis=1)


def _ignored(centres: F32, sample: ObjectSample) -> NDArray[np.bool_]:
    low, high = sample.ignored[:, :2], sample.ignored[:, 2:]
    within: NDArray[np.bool_] = np.all((centres[:, None] >= low) & (centres[:, None] <= high), axis=2).any(
        axis=1
    )
    return within


def _sample(bank: F32, count: int, rng: np.random.Generator) -> F32:
    chosen = rng.permutation(len(bank))[:count]
    return bank[np.sort(chosen)]
