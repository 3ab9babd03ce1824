"""The files of a checkpoint folder, whichever family of towers they describe."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from edge.files import sha256_of_file
from edge.prompts.rectification import RECTIFICATION_NAME, Rectification, load_rectification
from firmware_cfg.errors import BundleError
from training.errors import CheckpointError
from training.folders import recover_folder, replace_folder
from training.models.lite import POSITION_WIDTH

SCHEMA = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
TOKENIZER_FILE = "tokenizer.json"
METRICS_FILE = "metrics.json"
CARD_FILE = "card.md"

Storage = Literal["float16", "float32"]
"""How a checkpoint stores its weights. The model is defined as what the stored values widen to."""

_TYPES: dict[Storage, torch.dtype] = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A folder's contents.

    Attributes:
        folder: where it lies.
        document: model.json.
        state: the weights by name, floating point ones widened to float32.
        sha256: of weights.safetensors; of a rectified model, of that hash and its rectification's.
        metrics: metrics.json.
        card: card.md.
    """

    folder: Path
    document: dict[str, Any]
    state: dict[str, Tensor]
    sha256: str
    metrics: dict[str, Any]
    card: str


def stored_weights(folder: Path, state: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """The weights as the folder will hold them, on the CPU.

    Raises CheckpointError for weights that the storage cannot hold, or that are no numbers.
    """
    dtype = _TYPES[storage]
    stored = {
        k: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype).contiguous()
        for k, v in state.items()
    }
    for name, value in stored.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{folder}: not written: {name} holds what {storage} cannot (did the run diverge?)"
            )
    return stored


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that stored ones stand for: float32."""
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def write_folder(
    folder: Path,
    document: Mapping[str, Any],
    stored: Mapping[str, Tensor],
    tokenizer: str,
    metrics: Mapping[str, Any],
    card: str,
) -> None:
    """Write a checkpoint folder; an existing one is replaced only once the new one is complete."""
    from safetensors.torch import save

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / MODEL_FILE).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    (partial / WEIGHTS_FILE).write_bytes(save(dict(stored)))
    (partial / TOKENIZER_FILE).write_text(tokenizer, "utf-8")
    (partial / CARD_FILE).write_text(card, "utf-8")
    (partial / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    replace_folder(partial, folder)


def write_rectified(
    folder: Path,
    source: Path,
    rectification: Rectification,
    metrics: Mapping[str, Any],
    card: str,
) -> None:
    """Write the model of checkpoint folder `source`, its weights to the bit, together with a rectification.

    An existing `folder` is replaced only once the new one is complete.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in (MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        shutil.copyfile(source / name, partial / name)
    rectification.save(partial / RECTIFICATION_NAME)
    (partial / CARD_FILE).write_text(card, "utf-8")
    (partial / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    replace_folder(partial, folder)


def read_rectification(folder: Path, embedding_width: int) -> Rectification | None:
    """That of a checkpoint folder, None where it has none. Raises CheckpointError where it is unusable."""
    file = folder / RECTIFICATION_NAME
    if not file.exists():
        return None
    try:
        return load_rectification(file, embedding_width, POSITION_WIDTH)
    except BundleError as error:
        raise CheckpointError(str(error)) from error


def read_document(folder: Path) -> dict[str, Any]:
    """model.json of a checkpoint folder. Raises CheckpointError: not readable, or of another schema."""
    recover_folder(folder)
    file = folder / MODEL_FILE
    document = _json(_bytes(folder, MODEL_FILE), file)
    if document.get("schema") != SCHEMA:
        raise CheckpointError(f"{file}: schema {document.get('schema')}, this release reads {SCHEMA}")
    return document


def read_folder(folder: Path) -> StoredCheckpoint:
    """Read a checkpoint folder. Raises CheckpointError naming the file that is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    document = read_document(folder)
    metrics = _json(_bytes(folder, METRICS_FILE), folder / METRICS_FILE)
    card = _bytes(folder, CARD_FILE).decode("utf-8", errors="replace")
    _bytes(folder, TOKENIZER_FILE)
    weights = _bytes(folder, WEIGHTS_FILE)
    try:
        state = widened(load(weights))
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS_FILE}: damaged ({error}); copy it again") from error
    require_finite(state, folder / WEIGHTS_FILE)
    return StoredCheckpoint(folder, document, state, _name_of(folder, weights), metrics, card)


def require_finite(state: Mapping[str, Tensor], file: Path) -> None:
    """Raise CheckpointError naming the first weights that hold NaN or infinite numbers."""
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(f"{file}: {name} holds NaN or infinite numbers (did the run diverge?)")


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


def _name_of(folder: Path, weights: bytes) -> str:
    """The hash that names the model: the same hash, the same numbers."""
    name = hashlib.sha256(weights).hexdigest()
    if not (folder / RECTIFICATION_NAME).exists():
        return name
    return hashlib.sha256(f"{name} {sha256_of_file(folder / RECTIFICATION_NAME)}".encode()).hexdigest()
