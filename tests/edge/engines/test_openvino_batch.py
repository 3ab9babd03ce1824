"""What failed in OpenVINO stays failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge.bundle.load import Bundle
from edge.engines import create_image_engine
from firmware_cfg.errors import EngineError


def test_a_failure_is_raised_again_and_is_no_success_later(tiny_bundle: Bundle) -> None:
    engine: Any = create_image_engine(tiny_bundle, "openvino")
    tile, prompts = np.zeros((1, 64, 64, 3), np.uint8), np.ones((2, 8), np.float32)
    bias = np.zeros(2, np.float32)
    engine.infer(tile, prompts, bias)
    pending = engine.start(tile, prompts, bias)

    class Failing:
        def wait(self) -> None:
            raise RuntimeError("Exception from somewhere:\nthe device is gone")

    pending._batch._under_way.append(Failing())
    for _ in range(2):
        with pytest.raises(EngineError, match="openvino failed: the device is gone"):
            pending.result()
    assert engine.infer(tile, prompts, bias).scene.shape == (1, 2)
