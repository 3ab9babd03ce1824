"""The checkpoint folder, training's contract with compile: model.json, weights, tokenizer, card, metrics."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import CheckpointError
from training.folders import recover_folder, replace_folder
from training.models.lite import LiteImageTower
from training.models.text import TextTower, minilm_folder

SCHEMA = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
TOKENIZER_FILE = "tokenizer.json"
METRICS_FILE = "metrics.json"
CARD_FILE = "card.md"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What model.json says: enough to rebuild the towers."""

    schema: int
    model: str
    tower: str
    text_tower: str
    embedding_width: int
    channels: int
    licence: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint: both towers in eval mode, float32."""

    spec: ModelSpec
    image: LiteImageTower
    text: TextTower
    sha256: str
    metrics: dict[str, Any]
    card: str


def save_checkpoint(
    folder: Path,
    spec: ModelSpec,
    image: LiteImageTower,
    text: TextTower,
    metrics: Mapping[str, Any],
    card: str,
) -> None:
    """Write a checkpoint folder; an existing one is replaced only once the new one is complete.

    Weights are stored as float16: the float32 model is defined as what these values widen to, so that
    everything derived from the checkpoint starts from the same numbers. Raises CheckpointError for weights
    that float16 cannot hold.
    """
    from safetensors.torch import save

    state: dict[str, Tensor] = {f"image.{k}": v for k, v in image.state_dict().items()}
    state |= {f"text.{k}": v for k, v in text.state_dict().items()}
    half = {k: v.detach().half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    for name, value in half.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{folder}: not written: {name} holds what float16 cannot (did the run diverge?)"
            )
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / MODEL_FILE).write_text(json.dumps(asdict(spec), indent=2) + "\n", "utf-8")
    (partial / WEIGHTS_FILE).write_bytes(save(half))
    shutil.copyfile(minilm_folder() / TOKENIZER_FILE, partial / TOKENIZER_FILE)
    (partial / CARD_FILE).write_text(card, "utf-8")
    (partial / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    replace_folder(partial, folder)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load a checkpoint folder. Raises CheckpointError naming the file that is missing, damaged or unfit."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    recover_folder(folder)
    spec = _spec(folder)
    metrics = _json(_bytes(folder, METRICS_FILE), folder / METRICS_FILE)
    card = _bytes(folder, CARD_FILE).decode("utf-8", errors="replace")
    _bytes(folder, TOKENIZER_FILE)
    weights = _bytes(folder, WEIGHTS_FILE)
    try:
        stored = load(weights)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS_FILE}: damaged ({error}); copy it again") from error
    state = {k: v.float() if v.is_floating_point() else v for k, v in stored.items()}
    image = LiteImageTower(spec.embedding_width, spec.channels, pretrained=False)
    text = TextTower(spec.embedding_width)
    try:
        image.load_state_dict(_part(state, "image."))
        text.load_state_dict(_part(state, "text."))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{folder / WEIGHTS_FILE}: not the weights of this release's {spec.model} ({detail})"
        ) from error
    digest = hashlib.sha256(weights).hexdigest()
    return Checkpoint(spec, image.eval(), text.eval(), digest, metrics, card)


def _spec(folder: Path) -> ModelSpec:
    file = folder / MODEL_FILE
    document = _json(_bytes(folder, MODEL_FILE), file)
    if document.get("schema") != SCHEMA:
        raise CheckpointError(f"{file}: schema {document.get('schema')}, this release reads {SCHEMA}")
    try:
        return ModelSpec(**document)
    except TypeError as error:
        raise CheckpointError(f"{file}: not a model description ({error})") from error


def _bytes(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{folder / name}: cannot be read: {error.strerror} (is {folder} a checkpoint folder?)"
        ) from error


def _json(data: bytes, file: Path) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise CheckpointError(f"{file}: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file}: not a JSON object")
    return document


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def save_state(file: Path, state: Mapping[str, Any]) -> None:
    """Atomically write a run's resumable state."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as stream:
        torch.save(dict(state), stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, file)


def load_state(file: Path) -> dict[str, Any]:
    """A run's resumable state. Raises CheckpointError where the file is damaged."""
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{file}: damaged; remove it to begin the run anew") from error
    return state
