"""The label-free aerial encoder: geoembed 1.1.2's v3, trained on orthophotos without labels, in torch.

Its wheel (PyPI, MIT by its metadata) carries the weights as numpy arrays and runs them through OpenCL.
Nothing of its code is imported here: the file is found by the wheel's record, and the network below is the
one that geoembed/arch.py (TileEncoderV3) describes.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edge.files import UNREADABLE_NPZ, open_npz
from firmware_cfg.errors import MissingExtra
from training.errors import CheckpointError

PACKAGE = "geoembed"
SIDE = 128
"""Pixels of its square input; a tile of about 38 m is what it was trained on."""
_FILE = "geoembed/weights/v3.npz"
_SHA256 = "fbd6dd8e3a0fec98966314e611496f3c1e706b6d2d7dcd62e0e4fc1eb31489a0"
_STAGES = (1, 2, 3, 4)


class AerialEncoder(nn.Module):
    """ResNet-18 (arXiv 1512.03385) with a 3x3 stem of stride 1, no max-pool, a 4x4 grid and a linear layer.

    forward: float image (N, 3, 128, 128) in -1..1 -> unit embeddings (N, 256).
    """

    def __init__(self, base: int = 64, pool: int = 4, width: int = 256) -> None:
        super().__init__()
        self.stem = _normed(3, base, 3, 1)
        channels, blocks = base, []
        for stage in _STAGES:
            out = base << (stage - 1)
            blocks += [_Block(channels, out, 1 if stage == 1 else 2), _Block(out, out, 1)]
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.fc = nn.Linear(channels * pool * pool, width)

    def forward(self, image: Tensor) -> Tensor:
        grid = self.pool(self.blocks(self.stem(image).relu()))
        return nn.functional.normalize(self.fc(grid.flatten(1)), dim=1)


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _normed(channels, out, 3, stride), _normed(out, out, 3, 1)
        self.short = nn.Identity() if channels == out else _normed(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, (self.conv2(self.conv1(x).relu()) + self.short(x)).relu())


def load_aerial_encoder(file: Path | None = None) -> AerialEncoder:
    """The encoder with its weights, batch norm folded into the convolutions, in eval mode.

    file: another copy of v3.npz, or one of its kind; default: the installed wheel's, whose hash is pinned.

    Raises:
        MissingExtra: the wheel is not installed.
        CheckpointError: the file is not what it should be.
    """
    path = file or _wheel_file()
    try:
        if file is None and hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
            raise CheckpointError(f"{path}: not the weights of {PACKAGE} 1.1.2 (install that version again)")
        with open_npz(path) as archive:
            return _build({name: archive[name] for name in archive.files}).eval()
    except UNREADABLE_NPZ as error:
        raise CheckpointError(f"{path}: not weights of {PACKAGE}'s v3 ({error})") from error


def _wheel_file() -> Path:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise MissingExtra(PACKAGE, "train") from error
    for file in files:
        if file.as_posix() == _FILE:
            return Path(str(file.locate()))
    raise CheckpointError(f"{PACKAGE}: no {_FILE} among its files (install {PACKAGE} 1.1.2)")


def _build(arrays: dict[str, np.ndarray]) -> AerialEncoder:
    """Raises KeyError or ValueError where an array is missing or of another shape."""
    base, pool, width = (int(arrays[name][0]) for name in ("base_channels", "pool_size", "embed_dim"))
    encoder = AerialEncoder(base, pool, width)
    _fill(encoder.stem, arrays, "bb.stem.0", "bb.stem.1")
    for number, block in enumerate(encoder.blocks):
        name = f"bb.layer{number // 2 + 1}.{number % 2}"
        _fill(block.conv1, arrays, f"{name}.conv1", f"{name}.bn1")
        _fill(block.conv2, arrays, f"{name}.conv2", f"{name}.bn2")
        if isinstance(block.short, nn.Conv2d):
            _fill(block.short, arrays, f"{name}.short.0", f"{name}.short.1")
    _copy(encoder.fc.weight, arrays["fc.weight"].T)  # the file has it as (in, out)
    _copy(encoder.fc.bias, arrays["fc.bias"])
    return encoder


def _normed(channels: int, out: int, kernel: int, stride: int) -> nn.Conv2d:
    """A convolution into which its batch norm will be folded."""
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2)


def _fill(conv: nn.Conv2d, arrays: dict[str, np.ndarray], weight: str, norm: str) -> None:
    bare = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, bias=False)  # type: ignore[arg-type]
    statistics = nn.BatchNorm2d(conv.out_channels, eps=1e-5)
    _copy(bare.weight, arrays[f"{weight}.weight"])
    for name in ("weight", "bias", "running_mean", "running_var"):
        _copy(getattr(statistics, name), arrays[f"{norm}.{name}"])
    folded = fuse_conv_bn_eval(bare.eval(), statistics.eval())
    _copy(conv.weight, folded.weight.detach().numpy())
    assert conv.bias is not None
    assert folded.bias is not None
    _copy(conv.bias, folded.bias.detach().numpy())


def _copy(target: Tensor, array: np.ndarray) -> None:
    if tuple(target.shape) != array.shape:
        raise ValueError(f"an array of {array.shape} where {tuple(target.shape)} belongs")
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(array, np.float32)))
