"""What an open_clip tower is: its shape from a config, its activation, and where its weights began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

import training.torchvision_ops  # noqa: F401  (must run before open_clip imports torchvision)
from firmware_cfg.errors import UsageError

TOWERS = ("RN50", "ViT-B-32", "ViT-B-16", "ViT-L-14")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class VisionConfig(_Model):
    """open_clip's `vision_cfg` of OpenAI's two image towers: ResNet (four layer counts) or ViT (one)."""

    image_size: PositiveInt = 224
    layers: PositiveInt | list[PositiveInt] = 12
    width: PositiveInt = 768
    head_width: PositiveInt = 64
    mlp_ratio: float = Field(4.0, gt=0)
    patch_size: PositiveInt | None = None

    @property
    def stride(self) -> int:
        """Pixels per cell of the image tower's grid."""
        return self.patch_size or 32


class TextConfig(_Model):
    """open_clip's `text_cfg` of OpenAI's text tower."""

    context_length: PositiveInt = 77
    vocab_size: Literal[49408] = 49408
    width: PositiveInt = 512
    heads: PositiveInt = 8
    layers: PositiveInt = 12
    mlp_ratio: float = Field(4.0, gt=0)


class ClipConfig(_Model):
    """An open_clip model config, as far as OpenAI's and RemoteCLIP's towers need it."""

    embed_dim: PositiveInt
    vision_cfg: VisionConfig
    text_cfg: TextConfig
    quick_gelu: bool | None = None


class ClipSpec(_Model):
    """All that is needed to rebuild a pair of CLIP towers, and to know what they compute.

    quick_gelu is never left to a default: with the same weights the two activations give two models, and
    nothing but the accuracy would tell.
    """

    model: str
    config: ClipConfig
    quick_gelu: bool
    origin: str
    """The weights that training began from: kind, file and hash, or "random"."""


def tower_config(name: str) -> tuple[str, ClipConfig]:
    """The name and config of one of TOWERS, or of a path to an open_clip config file (*.json).

    Raises UsageError for an unknown name, and for a file that is no config of such towers.
    """
    import open_clip

    if name in TOWERS:
        return name, ClipConfig.model_validate(open_clip.get_model_config(name))
    file = Path(name)
    if file.suffix != ".json":
        raise UsageError(f"{name}: unknown tower (known: {', '.join(TOWERS)}, or an open_clip config *.json)")
    try:
        return file.stem, ClipConfig.model_validate(json.loads(file.read_text("utf-8")))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{file}: {where}: {first['msg']} (only OpenAI's ViT and ResNet towers)") from error
    except ValueError as error:
        raise UsageError(f"{file}: not JSON ({error})") from error
