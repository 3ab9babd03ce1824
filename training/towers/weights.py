"""CLIP weight files from disk: OpenAI's, RemoteCLIP's and open_clip's, and what each tells of itself."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from firmware_cfg.errors import UsageError
from training.errors import CheckpointError

# OpenAI's files carry these numbers among their tensors; no other writer does.
_OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")


class WeightsKind(Enum):
    """Who wrote a weights file, as far as the file tells."""

    OPENAI = "openai"
    REMOTECLIP = "remoteclip"
    OPEN_CLIP = "open_clip"


# What the activation was in training. An open_clip file does not tell: both kinds exist under the same keys.
_QUICK_GELU = {WeightsKind.OPENAI: True, WeightsKind.REMOTECLIP: True}


@dataclass(frozen=True, slots=True)
class OfficialWeights:
    """A weights file's tensors by open_clip's names (float32), who wrote it, and its SHA-256."""

    file: Path
    state: dict[str, Tensor]
    kind: WeightsKind
    sha256: str

    @property
    def origin(self) -> str:
        return f"{self.kind.value} {self.file.name} sha256:{self.sha256}"

    def activation(self, quick_gelu: bool | None) -> bool:
        """Whether these weights take QuickGELU; `quick_gelu` is what the caller says, None for nothing.

        Raises UsageError where the caller contradicts the file, or where neither tells.
        """
        known = _QUICK_GELU.get(self.kind)
        if known is None and quick_gelu is None:
            raise UsageError(
                f"{self.file}: does not tell its activation; set quick_gelu: true if it was trained from"
                " OpenAI's weights (RemoteCLIP's files are), false for open_clip's own models such as LAION's"
            )
        if known is not None and quick_gelu not in (None, known):
            raise UsageError(
                f"{self.file}: {self.kind.value} weights were trained with QuickGELU; with another activation"
                " they are another, worse model (leave quick_gelu out)"
            )
        return bool(known if quick_gelu is None else quick_gelu)


def read_weights(file: Path) -> OfficialWeights:
    """Read a JIT archive, a pickled state dict (bare, or of an open_clip run) or a safetensors file.

    Nothing in the file is executed. A file is taken for RemoteCLIP's by its official name (RemoteCLIP-*):
    its tensors look like any open_clip model's. Raises CheckpointError where it cannot be read.
    """
    try:
        data_sha256 = _sha256(file)
        stored = _load(file)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: cannot be read as CLIP weights ({detail})") from error
    tensors = stored.get("state_dict", stored)
    if not isinstance(tensors, Mapping) or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise CheckpointError(f"{file}: holds no state dict of tensors")
    state = {name.removeprefix("module."): value for name, value in tensors.items()}
    kind = WeightsKind.OPEN_CLIP
    if all(name in state for name in _OPENAI_NUMBERS):
        kind = WeightsKind.OPENAI
    elif file.name.lower().startswith("remoteclip-"):
        kind = WeightsKind.REMOTECLIP
    wide = {
        name: value.float() if value.is_floating_point() else value
        for name, value in state.items()
        if name not in _OPENAI_NUMBERS
    }
    return OfficialWeights(file, wide, kind, data_sha256)


def _load(file: Path) -> Mapping[str, Any]:
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    if _is_jit_archive(file):
        module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
        return cast("Mapping[str, Any]", module.state_dict())
    stored = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(stored, Mapping):
        raise ValueError(f"holds a {type(stored).__name__}, not a state dict")
    return stored


def _is_jit_archive(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
