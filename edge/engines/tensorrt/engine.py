"""The image engine on an NVIDIA GPU: checks, chunks, and the hand-over to the thread that owns the GPU."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import F32, IMAGE_OUTPUTS, U8, EngineOutput
from edge.engines.checks import check_image_inputs
from edge.engines.tensorrt.cuda import CudaThread, load_driver
from edge.engines.tensorrt.library import Library
from edge.engines.tensorrt.plan import LoadedPlan
from firmware_cfg.errors import EngineError


class TensorRtImageEngine:
    """A plan on the GPU. Satisfies ImageEngine; any thread may call it, one at a time."""

    name = "tensorrt"

    def __init__(
        self, library: Library, plan: bytes, precision: str, image_size: tuple[int, int], label: str
    ) -> None:
        """Load a plan.

        Args:
            library: the TensorRT that built it.
            plan: its bytes.
            precision: of the graph it was built from.
            image_size: (width, height) that it was built for.
            label: what messages call it.

        Raises:
            EngineError, OutOfMemory: the GPU or TensorRT does not take it. MissingExtra: no pycuda.
        """
        driver = load_driver()
        self.precision = precision
        self.image_size = image_size
        thread = CudaThread(driver)
        try:
            loaded = thread.run(lambda: LoadedPlan(library, driver, plan, label))
        except BaseException:
            thread.close()
            raise
        self._thread, self._plan = thread, loaded
        self._max_batch = loaded.largest["image"][0]
        self._max_prompts, self._row_width = loaded.largest["prompts"]
        # Also when it is dropped unclosed, or at exit: CUDA objects must die in their own thread.
        self._finish = weakref.finalize(self, thread.close, loaded.close)

    def infer(self, image: U8, prompts: F32, bias: F32) -> EngineOutput:
        """See ImageEngine.infer. More tiles than the engine takes at once run one after another."""
        if not self._finish.alive:
            raise EngineError("this engine is closed")
        check_image_inputs(image, prompts, bias, self.image_size, self._row_width)
        if len(prompts) > self._max_prompts:
            raise EngineError(f"{len(prompts)} prompt rows, but the engine was built for {self._max_prompts}")
        parts: list[dict[str, Any]] = []
        for start in range(0, len(image), self._max_batch):
            tiles = image[start : start + self._max_batch]
            feed: dict[str, NDArray[Any]] = {"image": tiles, "prompts": prompts, "bias": bias}
            parts.append(self._thread.run(partial(self._plan.run, feed)))
        return EngineOutput(**{name: _joined([part[name] for part in parts]) for name in IMAGE_OUTPUTS})

    def close(self) -> None:
        """See ImageEngine.close."""
        self._finish()


def _joined(arrays: list[Any]) -> F32:
    whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return np.asarray(whole, np.float32)
