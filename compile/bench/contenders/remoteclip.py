"""RemoteCLIP as its README runs it: open_clip's ViT-B-32 in torch, pictures prepared by PIL."""

from __future__ import annotations

import importlib
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from compile.bench.contenders.base import pictures_of
from compile.bench.contenders.crops import TilesContender
from compile.bench.spec import Setting
from firmware_cfg.prompt_list import load_prompt_list
from training.errors import require_extra

TOWER = "ViT-B-32"


class RemoteClipContender(TilesContender):
    """The README embeds the sentences with every picture; here that is done once, which favours it."""

    def __init__(self, setting: Setting, variant: str = "") -> None:
        """Make the model and look at a first picture. Raises MissingExtra, ConfigErrors."""
        require_extra("train", "torch", "torchvision", "open_clip", "PIL")
        import torch

        import training.torchvision_ops  # noqa: F401 - before open_clip imports torchvision

        self._torch = torch
        open_clip = _open_clip()
        self._model, _, self._prepare = open_clip.create_model_and_transforms(
            TOWER, pretrained=setting.weights or None
        )
        self._model.eval()
        sentences = [
            text for prompt in load_prompt_list(setting.prompts).model.prompts for text in prompt.text
        ]
        with torch.no_grad():
            embedded = self._model.encode_text(open_clip.get_tokenizer(TOWER)(sentences))
        self._sentences = embedded / embedded.norm(dim=-1, keepdim=True)
        self._pictures = pictures_of(setting.clip)
        self.look(next(self._pictures))

    def probabilities(self, pictures: list[Any]) -> npt.NDArray[np.float32]:
        """See TilesContender."""
        torch = self._torch
        with torch.no_grad():
            embedded = self._model.encode_image(torch.stack([self._prepare(picture) for picture in pictures]))
            embedded /= embedded.norm(dim=-1, keepdim=True)
            likely = (100.0 * embedded @ self._sentences.T).softmax(dim=-1)
        return np.asarray(likely.cpu().numpy(), np.float32)


def _open_clip() -> Any:
    """open_clip, which logs that random weights are random, to the root logger."""
    logging.getLogger().addFilter(_not_that_weights_are_random)
    return importlib.import_module("open_clip")


def _not_that_weights_are_random(record: logging.LogRecord) -> bool:
    return record.module != "factory" or record.levelno > logging.WARNING


def export_tower(weights: str, path: str) -> None:
    """Write the image tower as float32 ONNX: image (batch, 3, 224, 224) float -> embedding (batch, 512).

    Raises MissingExtra.
    """
    require_extra("compile", "torch", "torchvision", "open_clip", "onnx", "onnxscript")
    import torch

    import training.torchvision_ops  # noqa: F401

    model, *_ = _open_clip().create_model_and_transforms(TOWER, pretrained=weights or None)
    # An example batch of 1 would freeze the batch dimension.
    torch.onnx.export(
        model.visual.eval(),
        (torch.zeros(2, 3, 224, 224),),
        path,
        input_names=["image"],
        output_names=["embedding"],
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
