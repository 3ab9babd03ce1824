"""The checkpoint folder, training's contract with compile: model.json, weights, tokenizer, card, metrics."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from firmware_cfg.errors import RemoteclipError
from training.models.lite import LiteImageTower
from training.models.text import TextTower, minilm_folder

MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"


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
    everything derived from the checkpoint starts from the same numbers.
    """
    from safetensors.torch import save_file

    state: dict[str, Tensor] = {f"image.{k}": v for k, v in image.state_dict().items()}
    state |= {f"text.{k}": v for k, v in text.state_dict().items()}
    half = {k: v.detach().half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / MODEL_FILE).write_text(json.dumps(asdict(spec), indent=2) + "\n", "utf-8")
    save_file(half, str(partial / WEIGHTS_FILE))
    shutil.copyfile(minilm_folder() / "tokenizer.json", partial / "tokenizer.json")
    (partial / "card.md").write_text(card, "utf-8")
    (partial / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
        os.replace(partial, folder)
        shutil.rmtree(old)
    else:
        os.replace(partial, folder)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load a checkpoint folder. Raises RemoteclipError naming the file that is missing or does not fit."""
    from safetensors.torch import load_file

    try:
        document = json.loads((folder / MODEL_FILE).read_text("utf-8"))
        spec = ModelSpec(**document)
        weights = folder / WEIGHTS_FILE
        state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(str(weights)).items()}
        metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
        card = (folder / "card.md").read_text("utf-8")
    except FileNotFoundError as error:
        raise RemoteclipError(f"{error.filename}: not found (is {folder} a checkpoint folder?)") from error
    except (TypeError, ValueError) as error:
        raise RemoteclipError(f"{folder / MODEL_FILE}: {error} (written by another version?)") from error
    image = LiteImageTower(spec.embedding_width, spec.channels, pretrained=False)
    text = TextTower(spec.embedding_width)
    try:
        image.load_state_dict(_part(state, "image."))
        text.load_state_dict(_part(state, "text."))
    except RuntimeError as error:
        raise RemoteclipError(f"{weights}: weights do not fit {spec.model} ({error})") from error
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return Checkpoint(spec, image.eval(), text.eval(), digest, metrics, card)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def save_state(file: Path, state: Mapping[str, Any]) -> None:
    """Atomically write a run's resumable state."""
    partial = file.with_suffix(".partial")
    torch.save(dict(state), partial)
    os.replace(partial, file)
