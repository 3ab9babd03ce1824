"""`train hyperspectral`: a cube and class names in, a run folder with the map out; a stopped run goes on."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edge.cubes import Cube, rgb_image
from edge.files import open_npz, write_atomically
from firmware_cfg.errors import UsageError
from training.checkpoint import AnyCheckpoint, open_checkpoint
from training.errors import CheckpointError, DataError
from training.hyperspectral.classes import LandCover
from training.hyperspectral.dense import dense_tower
from training.hyperspectral.maps import Area, write_maps
from training.hyperspectral.noisy import NoisyTrainer, NoisyTraining, standardised
from training.hyperspectral.zeroshot import F32, U8, DenseLabels, Passes, ZeroShot, zero_shot
from training.mean_embeddings import mean_embeddings
from training.recipe import DEFAULT_CHECKPOINT
from training.torch_engine import TorchTextEncoder

RUN_FILE = "run.json"
ZERO_SHOT_FILE = "zeroshot.npz"
STATE_FILE = "state.pt"

EpochDone: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A cube beside what the model sees of it.

    image      (H, W, 3) uint8 RGB, by spectral interpolation
    sentences  (C, D) unit embeddings of the classes
    """

    cube: Cube
    classes: list[LandCover]
    image: U8
    sentences: F32
    checkpoint: AnyCheckpoint

    @property
    def names(self) -> list[str]:
        """Of the classes, in order."""
        return [each.name for each in self.classes]

    def zero_shot(self, settings: ZeroShot, progress: Passes | None = None) -> DenseLabels:
        """Dense labels by sentences alone."""
        return zero_shot(dense_tower(self.checkpoint), self.image, self.sentences, settings, progress)

    def trainer(self, first: DenseLabels, settings: NoisyTraining, seed: int) -> NoisyTrainer:
        """Training on those labels and the cube's spectra."""
        spectra = standardised(self.cube.values, self.cube.valid)
        return NoisyTrainer(spectra, first, self.cube.valid, settings, seed)


def open_scene(model: Path, cube: Cube, classes: list[LandCover]) -> Scene:
    """Bring model, cube and classes together; "default" is the shipped model.

    Raises:
        UsageError: the model is a bundle, whose graph gives the strongest places and not every cell.
        CheckpointError: it is damaged.
        DataError: the scene is too small for a map.
        SourceError: the cube does not cover visible light, or is of one value.
    """
    if str(model) != "default" and (model / "manifest.json").is_file():
        raise UsageError(
            f"{model}: a bundle tells its strongest places, not every cell (name its checkpoint)"
        )
    if min(cube.values.shape[:2]) < 8:
        rows, columns, _ = cube.values.shape
        raise DataError(f"{cube.path}: {rows} x {columns} pixels are no scene (8 x 8 at least)")
    image = rgb_image(cube)
    checkpoint = open_checkpoint(DEFAULT_CHECKPOINT if str(model) == "default" else model)
    sentences = mean_embeddings(TorchTextEncoder(checkpoint), (each.sentences for each in classes))
    return Scene(cube, classes, image, sentences, checkpoint)


def unseen_classes(labels: DenseLabels, names: Sequence[str]) -> list[str]:
    """Classes that are the likeliest nowhere: training on these labels cannot find them either."""
    present = np.unique(labels.label)
    return [name for number, name in enumerate(names) if number not in present]


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """A finished run: what was written of the map, and the classes without a single zero-shot pixel."""

    areas: list[Area]
    unseen: list[str]


def map_scene(
    scene: Scene,
    out: Path,
    zero: ZeroShot,
    training: NoisyTraining,
    seed: int,
    *,
    resume: bool = False,
    passes: Passes | None = None,
    epoch_done: EpochDone | None = None,
) -> Mapped:
    """Label, train and write everything into `out`; with `resume` go on from what it holds.

    Raises:
        UsageError: `out` holds a run already and `resume` was not said, or another run.
        CheckpointError: what a resume reads is damaged.
    """
    identity = _identity(scene, zero, training, seed)
    _begin(out, identity, resume)
    first = _first_labels(scene, zero, out / ZERO_SHOT_FILE, passes)
    trainer = scene.trainer(first, training, seed)
    state = out / STATE_FILE
    if state.is_file():
        trainer.restore(state)
    for epoch in trainer.run():
        trainer.save(state)
        if epoch_done:
            epoch_done(epoch)
    found = write_maps(out, trainer.labels(), scene.names, scene.cube, scene.image)
    return Mapped(found, unseen_classes(first, scene.names))


def _identity(scene: Scene, zero: ZeroShot, training: NoisyTraining, seed: int) -> dict[str, Any]:
    return {
        "model": scene.checkpoint.spec.model,
        "model_sha256": scene.checkpoint.sha256,
        "cube": scene.cube.path.name,
        "cube_sha256": hashlib.sha256(np.ascontiguousarray(scene.cube.values)).hexdigest(),
        "wavelengths_nm": [float(each) for each in scene.cube.wavelengths],
        "classes": {each.name: list(each.sentences) for each in scene.classes},
        "zero_shot": asdict(zero) | {"scales": list(zero.scales)},
        "training": asdict(training),
        "seed": seed,
    }


def _begin(out: Path, identity: dict[str, Any], resume: bool) -> None:
    file = out / RUN_FILE
    if file.is_file():
        if not resume:
            raise UsageError(f"{out}: holds a run already (go on with --resume, or name another folder)")
        try:
            former = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file}: damaged; name another folder to begin anew") from error
        if changed := [key for key in identity if former.get(key) != identity[key]]:
            raise UsageError(f"{file}: is of another run, {', '.join(changed)} differ (name another folder)")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(file, (json.dumps(identity, indent=1) + "\n").encode())


def _first_labels(scene: Scene, zero: ZeroShot, file: Path, passes: Passes | None) -> DenseLabels:
    if file.is_file():
        try:
            with open_npz(file) as stored:
                probability = stored["probability"]
        except (OSError, KeyError, ValueError) as error:
            raise CheckpointError(f"{file}: damaged; remove it to label the scene again") from error
        if probability.shape == (len(scene.classes), *scene.image.shape[:2]):
            return DenseLabels(probability)
        raise CheckpointError(f"{file}: not of this scene; remove it to label the scene again")
    first = scene.zero_shot(zero, passes)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, probability=first.probability)
    write_atomically(file, buffer.getvalue())
    return first
