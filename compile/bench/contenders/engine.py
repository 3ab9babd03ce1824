"""The image graph alone: one engine on one tile of the clip, with the daemon's prompt rows."""

from __future__ import annotations

import time

from compile.bench.contenders.base import LEAD, Samples, frames_of
from compile.bench.spec import FRAME, Setting
from edge.bundle.load import load_bundle
from edge.engines import create_image_engine
from edge.letterbox import best_image_size, letterbox
from edge.pipeline import Pipeline
from firmware_cfg.prompt_list import load_prompt_list


class EngineContender:
    """`variant` is the engine's name and the precision."""

    def __init__(self, setting: Setting, variant: str) -> None:
        """Load the graph. Raises RemoteclipError."""
        name, precision = variant.split()
        bundle = load_bundle(setting.bundle)
        with Pipeline(bundle, load_prompt_list(setting.prompts)) as pipeline:
            self._bank = pipeline.bank
        frame = next(frames_of(setting.clip))
        size = (
            setting.image_size
            or self._bank.prompt_list.image_size
            or best_image_size(frame.width, frame.height, bundle.manifest.image_sizes)
        )
        tile, _ = letterbox(frame.image, *size)
        self._tile = tile[None]
        self._engine = create_image_engine(bundle, name, precision, size)
        self._infer()

    def burst(self, task: str, frames: int) -> Samples:
        """See Contender."""
        if task != FRAME:
            raise ValueError(f"an engine has no task {task!r}")
        samples: Samples = {"frame": [], "cpu": []}
        for number in range(LEAD + frames):
            used, began = time.process_time(), time.perf_counter()
            self._infer()
            seconds, processor = time.perf_counter() - began, time.process_time() - used
            if number >= LEAD:
                samples["frame"].append(seconds)
                samples["cpu"].append(processor)
        return samples

    def close(self) -> None:
        """See Contender."""
        self._engine.close()

    def _infer(self) -> None:
        self._engine.infer(self._tile, self._bank.graph_rows, self._bank.graph_bias)
