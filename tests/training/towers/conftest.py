"""Shrunken CLIP towers: their configs, and weights that the tests make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.towers.clip import create_tower

TEXT = {"width": 32, "heads": 2, "layers": 2}
VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8},
    "text_cfg": TEXT,
}
RESNET = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "head_width": 16},
    "text_cfg": TEXT,
}


@pytest.fixture(scope="session")
def tower_configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """open_clip config files of a tiny ViT and a tiny ResNet."""
    folder = tmp_path_factory.mktemp("configs")
    for name, document in (("vit", VIT), ("resnet", RESNET)):
        (folder / f"tiny-{name}.json").write_text(json.dumps(document))
    return {"vit": folder / "tiny-vit.json", "resnet": folder / "tiny-resnet.json"}


@pytest.fixture(scope="session")
def drawn_state(tower_configs: dict[str, Path]) -> Callable[[str], dict[str, Tensor]]:
    """State dicts with drawn weights, as large as trained ones: activations leave the linear part of GELU."""

    def draw(kind: str) -> dict[str, Tensor]:
        rng = np.random.default_rng(5)
        state: dict[str, Any] = {}
        for name, value in create_tower(str(tower_configs[kind])).model.state_dict().items():
            if not value.is_floating_point():
                state[name] = value
            elif name == "logit_scale":
                state[name] = torch.tensor(3.0)
            elif name.endswith("running_var"):
                state[name] = torch.from_numpy(rng.uniform(0.5, 1.5, value.shape)).float()
            else:
                fan_in = value[0].numel() if value.ndim > 1 else 25
                centre = 1.0 if value.ndim == 1 and name.endswith("weight") else 0.0
                drawn = rng.normal(centre, 1.5 * fan_in**-0.5 if value.ndim > 1 else 0.2, value.shape)
                state[name] = torch.from_numpy(drawn).float()
            if state[name].is_floating_point():
                state[name] = state[name].half().float()  # so that half precision files hold the same numbers
        return state

    return draw


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Tensor]:
    """(2, height, width, 3) uint8 pictures of smooth blobs."""

    def draw(height: int, width: int) -> Tensor:
        coarse = np.random.default_rng(7).integers(0, 256, (2, 3, 5, 5)).astype(np.float32)
        smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), (height, width), mode="bilinear")
        return smooth.permute(0, 2, 3, 1).round().to(torch.uint8)

    return draw
