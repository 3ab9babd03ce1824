"""Golden embeddings of CLIP towers: what a checkpoint's weights must compute, wherever they are loaded.

Two activations fit the same weights, and nothing in them tells which is meant. So a checkpoint states what
its towers make of a fixed picture and a fixed sentence, and a loader that finds something else refuses it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge.engines.base import F32
from training.towers.clip import ClipTowers

SENTENCE = "a satellite photo of two boats beside a pier."
# Distance of unit vectors. Float32 differs by 1e-5 from machine to machine; the other activation moves even
# random weights of two layers by 4e-3.
TOLERANCE = 1e-3


def golden_document(towers: ClipTowers) -> dict[str, str]:
    """What the towers compute (in eval mode, on the CPU), for model.json: base64 of little-endian float32."""
    return {
        name: base64.b64encode(row.astype("<f4").tobytes()).decode() for name, row in _compute(towers).items()
    }


def golden_problem(towers: ClipTowers, document: Any) -> str | None:
    """What is wrong with towers that should compute what model.json says; None if nothing."""
    if not isinstance(document, dict):
        return "has no golden embeddings (save the checkpoint again)"
    for name, found in _compute(towers).items():
        try:
            wanted = np.frombuffer(base64.b64decode(str(document.get(name)), validate=True), "<f4")
        except (binascii.Error, ValueError):
            wanted = np.empty(0, np.float32)
        if wanted.shape != found.shape:
            return f"golden.{name} is no embedding of {len(found)} numbers (save the checkpoint again)"
        apart = float(np.linalg.norm(wanted - found))
        if not apart <= TOLERANCE:
            activation = "QuickGELU" if towers.spec.quick_gelu else "GELU"
            return (
                f"the towers do not compute their golden {name} embedding ({apart:.2g} apart): {activation}"
                " is not what the weights were trained with, or the weights are others (copy it again)"
            )
    return None


@torch.inference_mode()
def _compute(towers: ClipTowers) -> dict[str, F32]:
    image, text = towers(_picture(towers.image_size), towers.tokenize([SENTENCE]))
    return {"image": image[0].numpy(), "text": text[0].numpy()}


def _picture(side: int) -> Tensor:
    """A picture of smooth waves, (1, side, side, 3) uint8: no two patches are alike."""
    place = torch.arange(side, dtype=torch.float64)
    waves = [torch.sin(place * (k + 1) / 11)[:, None] + torch.cos(place * (k + 2) / 7) for k in range(3)]
    return ((torch.stack(waves, dim=-1) + 2) * 63.75).round().to(torch.uint8).unsqueeze(0)
