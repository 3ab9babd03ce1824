"""An open-vocabulary detector of the field: OWL-ViT B/32 of transformers, random weights, for its speed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from compile.bench.contenders.base import Samples, pictures_of, timed_burst
from compile.bench.spec import FRAME, Setting
from firmware_cfg.prompt_list import load_prompt_list
from training.errors import require_extra

TOKENS = 16
END = 49407
CONFIG: dict[str, Any] = {}
"""Of transformers' OwlViTConfig, whose defaults are B/32 at 768 x 768."""


class OwlVitContender:
    """Sentences are embedded once, as whoever runs it on video would do."""

    def __init__(self, setting: Setting, variant: str = "") -> None:
        """Make the model and look at a first picture. Raises MissingExtra, ConfigErrors."""
        require_extra("train", "torch", "torchvision", "transformers", "PIL")
        import torch

        import training.torchvision_ops  # noqa: F401 - before transformers imports torchvision

        transformers: Any = importlib.import_module("transformers")
        self._torch = torch
        self._model = transformers.OwlViTForObjectDetection(transformers.OwlViTConfig(**CONFIG)).eval()
        self._prepare = transformers.OwlViTImageProcessor()
        sentences = sum(len(prompt.text) for prompt in load_prompt_list(setting.prompts).model.prompts)
        tokens = torch.randint(1, END, (sentences, TOKENS))
        tokens[:, -1] = END
        with torch.no_grad():
            found = self._model.owlvit.get_text_features(tokens, torch.ones_like(tokens))
        # Before transformers 5 these were the embeddings themselves.
        self._queries = getattr(found, "pooler_output", found)[None]
        self._pictures = pictures_of(setting.clip)
        self.look(next(self._pictures))

    def burst(self, task: str, frames: int) -> Samples:
        """See Contender."""
        return timed_burst(self._pictures, {FRAME: self.look}[task], frames)

    def close(self) -> None:
        """See Contender."""

    def look(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(H, W, 3) uint8 -> logits (576, sentences) and boxes (576, 4), centre and size as fractions."""
        from PIL import Image

        model = self._model
        with self._torch.no_grad():
            prepared = self._prepare(images=Image.fromarray(pixels), return_tensors="pt")
            grid = model.image_embedder(prepared["pixel_values"])[0]
            cells = grid.flatten(1, 2)
            logits, _ = model.class_predictor(cells, self._queries, None)
            boxes = model.box_predictor(cells, grid)
        return logits[0].numpy(), boxes[0].numpy()
