from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.models.lite import LiteImageTower
from training.models.text import TextTower, encode_sentences
from training.towers.lite import LiteTowers


def test_lite_towers_embed_as_the_lite_model_does(pictures: Callable[[int, int], Tensor]) -> None:
    torch.manual_seed(0)
    image, text = LiteImageTower(32, 24, pretrained=False), TextTower(32)
    towers = LiteTowers("remoteclip-lite0", image, text, image_size=64).eval()
    assert (towers.embedding_width, towers.image_size) == (32, 64)
    texts = ["a harbour", "a very long row of boats along a pier"]
    with torch.inference_mode():
        picture = pictures(64, 96)
        torch.testing.assert_close(towers.encode_image(picture), image(picture).embedding)
        wanted = text.project(encode_sentences(text.minilm, texts))
        torch.testing.assert_close(towers.encode_text(texts), wanted, atol=1e-5, rtol=1e-5)
    assert towers.tokenize([]).shape[0] == 0
    embeddings = towers(pictures(64, 64), towers.tokenize(texts))
    (towers.logit_scale.exp() * (embeddings[0] * embeddings[1]).sum()).backward()
    assert image.scene.weight.grad is not None
    assert text.projection.weight.grad is not None
    assert image.scene_scale.grad is not None
    assert image.cell.weight.grad is None
