"""RemoteCLIP's image tower as a float32 graph in onnxruntime, pictures prepared by PIL and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compile.bench.contenders.base import pictures_of
from compile.bench.contenders.crops import TilesContender
from compile.bench.spec import Setting
from edge.system import usable_cores
from firmware_cfg.errors import EngineError
from firmware_cfg.prompt_list import load_prompt_list
from training.errors import require_extra

SIDE = 224
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

F32 = npt.NDArray[np.float32]


class TowerContender(TilesContender):
    """As RemoteClipContender, less torch. The sentences' embeddings are random: they cost the same."""

    def __init__(self, setting: Setting, variant: str = "") -> None:
        """Load the graph and look at a first picture. Raises MissingExtra, EngineError, ConfigErrors."""
        require_extra("onnxruntime", "onnxruntime")
        require_extra("train", "PIL")
        import onnxruntime

        if not setting.tower:
            raise EngineError("RemoteCLIP's tower was not exported (needs the extra compile)")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        self._session = onnxruntime.InferenceSession(
            setting.tower, options, providers=["CPUExecutionProvider"]
        )
        sentences = sum(len(prompt.text) for prompt in load_prompt_list(setting.prompts).model.prompts)
        width = self._session.get_outputs()[0].shape[1]
        self._sentences = _unit(np.random.default_rng(0).standard_normal((sentences, width)))
        self._pictures = pictures_of(setting.clip)
        self.look(next(self._pictures))

    def probabilities(self, pictures: list[Any]) -> F32:
        """See TilesContender."""
        batch = np.stack([prepared(picture) for picture in pictures])
        (embedded,) = self._session.run(None, {"image": batch})
        logits = 100.0 * _unit(embedded) @ self._sentences.T
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(likely / likely.sum(axis=1, keepdims=True), np.float32)


def prepared(picture: Any) -> F32:
    """A PIL picture as open_clip prepares it: (3, 224, 224), shorter side resized, centre cut out."""
    from PIL import Image

    shorter = min(picture.size)
    width, height = (int(SIDE * side / shorter) for side in picture.size)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - SIDE) / 2), round((height - SIDE) / 2)
    pixels = np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)), np.float32)
    return np.ascontiguousarray(((pixels / 255.0 - MEAN) / STD).transpose(2, 0, 1))


def _unit(rows: npt.NDArray[Any]) -> F32:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
