"""What an evaluation looks at: a bundle on the drone's engine, or a checkpoint in torch, by one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from edge.bundle.calibration import Calibration
from edge.bundle.load import DEFAULT, load_bundle
from edge.bundle.manifest import MANIFEST_NAME, SIZE_MULTIPLE
from edge.engines.base import F32, ImageEngine
from edge.pipeline import Pipeline
from edge.prompts.build import in_memory_list
from edge.runtime import BundleRuntime, Runtime
from firmware_cfg.errors import EngineError, UsageError
from firmware_cfg.prompt_list import PromptList
from training.checkpoint import MODEL_FILE, AnyCheckpoint, ClipCheckpoint, open_checkpoint
from training.evaluation.frames import frame_of
from training.progress import track
from training.torch_engine import ModelFacts, TorchImageEngine, TorchTextEncoder, model_facts

_ANY_SCENE = PromptList.model_validate({"prompts": [{"id": "scene", "kind": "scene", "text": ["a scene"]}]})


class CheckpointRuntime:
    """A checkpoint in float32 torch. Satisfies edge.runtime.Runtime.

    A checkpoint is not calibrated: an object's score is the sigmoid of its margin and a scene's the sigmoid
    of its cosine, which rank as a bundle's scores do. Default thresholds need a bundle's null bank.
    """

    def __init__(self, checkpoint: AnyCheckpoint) -> None:
        self._checkpoint = checkpoint
        self._encoder = TorchTextEncoder(checkpoint)
        self._facts = model_facts(checkpoint)

    @property
    def facts(self) -> ModelFacts:
        """See Runtime.facts."""
        return self._facts

    @cached_property
    def calibration(self) -> Calibration:
        """The identity, in the sense of the class, with the checkpoint's rectification."""
        width = self._facts.embedding_width
        return Calibration(
            null_cells=np.zeros((1, self._facts.row_width), np.float32),
            null_scenes=np.zeros((1, width), np.float32),
            platt_object=(1.0, 0.0),
            platt_scene=(1.0, 0.0),
            false_alarm_rate_object=0.5,
            false_alarm_rate_scene=0.5,
            rectification=self._checkpoint.rectification,
        )

    @property
    def sentences(self) -> TorchTextEncoder:
        """See Runtime.sentences."""
        return self._encoder

    def image_engine(self, size: tuple[int, int]) -> ImageEngine:
        """See Runtime.image_engine."""
        step = self._facts.stride if isinstance(self._checkpoint, ClipCheckpoint) else SIZE_MULTIPLE
        if min(size) <= 0 or size[0] % step or size[1] % step:
            raise EngineError(
                f"image size {size[0]}x{size[1]}: both sides must be positive multiples of {step}"
            )
        return TorchImageEngine(self._checkpoint, size)

    def release_sentences(self) -> None:
        """Nothing to free: the tower belongs to the checkpoint."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under evaluation. Every method gives what the drone would compute.

    Attributes:
        name: the model, such as "remoteclip-lite0".
        kind: what it was loaded from.
        sha256: of the bundle's manifest or the checkpoint's weights: the same hash, the same figures.
        path: the folder it was loaded from.
        runtime: the model itself.
    """

    name: str
    kind: Literal["bundle", "checkpoint"]
    sha256: str
    path: Path
    runtime: Runtime

    def pipeline(self, prompts: PromptList, image_size: tuple[int, int] | None = None) -> Pipeline:
        """The drone's pipeline for unrelated images; close it, or use it as a context manager.

        image_size is (width, height) of the model tile; default: for every image the one that suits it.
        Raises UsageError, ConfigErrors, EngineError as Pipeline does.
        """
        return Pipeline(self.runtime, in_memory_list(prompts), image_size=image_size, independent=True)

    def image_embeddings(self, paths: Sequence[Path], description: str = "images") -> F32:
        """Unit embeddings (N, D) of whole images, in order. Raises DataError for a file that is no image."""
        rows = np.empty((len(paths), self.runtime.facts.embedding_width), np.float32)
        with self.pipeline(_ANY_SCENE) as pipeline:
            for number, path in enumerate(track(paths, description)):
                rows[number] = pipeline.process(frame_of(path, number)).scores.embedding
        return rows

    def text_embeddings(self, texts: Sequence[str], description: str = "sentences") -> F32:
        """Unit embeddings (T, D), in order. Raises TextTooLong for what the text tower cannot read."""
        rows = np.empty((len(texts), self.runtime.facts.embedding_width), np.float32)
        for number, text in enumerate(track(texts, description)):
            rows[number] = self.runtime.sentences.encode([text])[0]
        self.runtime.release_sentences()
        return rows


def open_subject(path: str | Path, *, engine: str = "openvino", threads: int | None = None) -> Subject:
    """Load a bundle or checkpoint folder, "default" for the shipped bundle, or a file of CLIP weights.

    Args:
        path: the folder; a bundle is known by manifest.json, a checkpoint by model.json. A file of OpenAI's
            or RemoteCLIP's weights carries its tower in its name, as RemoteCLIP-ViT-B-32.pt does.
        engine: what runs a bundle; a checkpoint always runs in torch.
        threads: CPU threads; default: the runtime's choice. Torch's are those of the whole process.

    Raises:
        UsageError: the folder holds neither, or the file's name tells no tower.
        BundleError, CheckpointError: what it holds is damaged.
    """
    place = Path(path)
    if str(path) == DEFAULT or (place / MANIFEST_NAME).is_file():
        bundle = load_bundle(DEFAULT if str(path) == DEFAULT else place)
        runtime = BundleRuntime(bundle, engine, threads=threads)
        return Subject(bundle.manifest.model, "bundle", bundle.manifest_sha256, bundle.path, runtime)
    if threads is not None:
        torch.set_num_threads(threads)
    if not place.is_file() and not (place / MODEL_FILE).is_file():
        raise UsageError(
            f"{place}: no bundle and no checkpoint (name a folder with {MANIFEST_NAME} or {MODEL_FILE})"
        )
    checkpoint = open_checkpoint(place)
    name = checkpoint.spec.model
    return Subject(name, "checkpoint", checkpoint.sha256, place, CheckpointRuntime(checkpoint))
