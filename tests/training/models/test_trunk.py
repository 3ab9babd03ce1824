from __future__ import annotations

import pytest
import torch

from training.models.trunk import STRIDES, VARIANTS, LiteTrunk, load_imagenet_weights


@pytest.mark.parametrize("model", VARIANTS)
@pytest.mark.parametrize("size", [(64, 96), (128, 32)])
@torch.inference_mode()
def test_the_folded_trunk_gives_what_timm_gives_on_the_same_weights(
    model: str, size: tuple[int, int]
) -> None:
    import timm

    variant = VARIANTS[model]
    trunk = LiteTrunk(model).eval()
    net = timm.create_model(variant.timm_name, pretrained=False)
    load_imagenet_weights(net, variant)
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    taps = trunk(image)
    assert [tap.shape[1] for tap in taps] == list(variant.channels)
    assert [size[0] // tap.shape[2] for tap in taps] == list(STRIDES)
    expected = net.eval().forward_features(image)
    assert (trunk.head(taps[-1]) - expected).abs().max() < 1e-4
    assert expected.abs().max() > 0.1


def test_freezing_leaves_gradients_only_in_dense_layers_of_the_high_part() -> None:
    trunk = LiteTrunk(pretrained=False)
    trunk.freeze()
    assert not any(p.requires_grad for part in (trunk.stem, *trunk.blocks[:2]) for p in part.parameters())
    convolutions = [m for m in trunk.blocks[2:].modules() if isinstance(m, torch.nn.Conv2d)]
    assert {m.groups == 1: m.weight.requires_grad for m in convolutions} == {True: True, False: False}


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="tensors, the trunk has"):
        load_imagenet_weights(torch.nn.Conv2d(3, 8, 3), VARIANTS["remoteclip-lite0"])
