"""Encoders beside the model: what tells apart images that the model takes for the same.

    geoembed                    the label-free aerial encoder of the wheel geoembed 1.1.2 (the default)
    timm:NAME[@FILE]            any image tower of timm, with weights from the hub or from a file of its own
    open_clip:TOWER@FILE        the image tower of CLIP weights, such as open_clip:ViT-B-32@ViT-B-32.pt;
                                of a file that tells no activation, TOWER-quickgelu or TOWER-gelu

The second opinion is worth most from an encoder that never saw a label or a sentence, such as
timm:vit_large_patch14_dinov2, the one of MMVP (arXiv 2401.06209).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from edge.engines.base import F32, U8
from firmware_cfg.errors import UsageError
from training.errors import CheckpointError

DEFAULT_ENCODER = "geoembed"
_BATCH = 8


class Encoder(Protocol):
    """A visual encoder. name: as the user gave it; width: of its embeddings."""

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    def encode(self, images: Sequence[U8]) -> F32:
        """RGB images (H, W, 3) uint8 of any size -> unit embeddings (N, width)."""


@dataclass(frozen=True, slots=True, eq=False)
class TorchEncoder:
    """An image tower in torch. Satisfies Encoder.

    tower: float images (N, 3, side, side), normalised by mean and std (3,) of 0..1 -> embeddings (N, width)
    of any length. An image is squeezed into the square whatever its shape, so that all of it is seen.
    """

    name: str
    width: int
    tower: Callable[[Tensor], Tensor]
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: Image.Resampling = Image.Resampling.BICUBIC

    @torch.inference_mode()
    def encode(self, images: Sequence[U8]) -> F32:
        """See Encoder.encode."""
        rows = np.empty((len(images), self.width), np.float32)
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH]
            batch = torch.from_numpy(np.stack([self._input(image) for image in part]))
            rows[start : start + len(part)] = torch.nn.functional.normalize(self.tower(batch), dim=1).numpy()
        return rows

    def _input(self, image: U8) -> NDArray[np.float32]:
        small = Image.fromarray(image).resize((self.side, self.side), self.resample)
        scaled = np.asarray(small, np.float32) / 255
        normal = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


def open_encoder(name: str = DEFAULT_ENCODER) -> Encoder:
    """The encoder of a name as the module describes them.

    Raises:
        UsageError: the name says no encoder.
        MissingExtra: the package that carries it is not installed.
        CheckpointError: its weights cannot be had or do not fit.
    """
    kind, _, rest = name.partition(":")
    what, _, file = rest.partition("@")
    if kind == DEFAULT_ENCODER and not rest:
        return _geoembed()
    if kind == "timm" and what:
        return _timm(name, what, Path(file) if file else None)
    if kind == "open_clip" and what and file:
        return _open_clip(name, what, Path(file))
    raise UsageError(f"{name}: no encoder (geoembed, timm:NAME, timm:NAME@FILE or open_clip:TOWER@FILE)")


def _geoembed() -> TorchEncoder:
    from training.blindpairs.aerial import SIDE, load_aerial_encoder

    tower = load_aerial_encoder()
    half = (0.5, 0.5, 0.5)
    return TorchEncoder(
        DEFAULT_ENCODER, tower.fc.out_features, tower, SIDE, half, half, Image.Resampling.BILINEAR
    )


def _timm(name: str, model: str, file: Path | None) -> TorchEncoder:
    import training.torchvision_ops  # noqa: F401  (must run before timm imports torchvision)

    import timm  # isort: skip

    if not timm.is_model(model):
        raise UsageError(f"{name}: timm has no model {model} (see timm.list_models())")
    if file is not None and not file.is_file():
        raise UsageError(f"{file}: no such file of weights")
    overlay = {"file": str(file)} if file is not None else None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        drawn = timm.create_model(model, pretrained=False, num_classes=0).state_dict()
        torch.manual_seed(0)
        try:
            tower: Any = timm.create_model(
                model, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
            )
        except (OSError, RuntimeError, ValueError) as error:
            # Without a network the hub's errors are many lines long; the first says enough.
            first = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{name}: no weights ({first}; name a file: timm:{model}@FILE)") from error
    # timm takes a file that holds none of the weights: what is still as it was drawn is not of it.
    left = [key for key, value in tower.state_dict().items() if value.ndim > 1 and value.equal(drawn[key])]
    if left:
        raise CheckpointError(f"{name}: not weights of {model} ({left[0]} is not in it)")
    config = timm.data.resolve_model_data_config(tower)
    side = int(config["input_size"][1])
    return TorchEncoder(name, tower.num_features, tower.eval(), side, config["mean"], config["std"])


def _open_clip(name: str, tower: str, file: Path) -> TorchEncoder:
    from training.towers.clip import create_tower

    if not file.is_file():
        raise UsageError(f"{file}: no such file of weights")
    plain = tower.removesuffix("-quickgelu").removesuffix("-gelu")
    quick = None if plain == tower else tower.endswith("-quickgelu")
    try:
        towers = create_tower(plain, file, quick_gelu=quick).eval()
    except UsageError as error:
        raise UsageError(
            f"{error} (as an encoder: open_clip:{plain}-quickgelu@FILE or {plain}-gelu)"
        ) from error
    mean, std = (tuple(map(float, values.flatten())) for values in (towers.mean, towers.std))
    return TorchEncoder(name, towers.embedding_width, towers.model.visual, towers.image_size, mean, std)
