"""The ranges of a body's activations over calibration images, by onnxruntime's calibrator."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator

from compile.quantize.images import CalibrationImages
from compile.quantize.layers import IMAGE, Body
from training.progress import track


def measure_ranges(body: Body, images: CalibrationImages) -> TensorsData:
    """The largest magnitude of every value that the body's layers read or give, over all images.

    Raises DataError naming an image that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="remoteclip-ranges-") as scratch:
        graph = Path(scratch) / "body.onnx"
        onnx.save(body.model, str(graph))
        calibrator = create_calibrator(
            graph,
            list(body.op_types),
            augmented_model_path=str(Path(scratch) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"symmetric": True},
        )
        calibrator.collect_data(_Reader(images))
        return calibrator.compute_data()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the calibrator, under a progress bar."""

    def __init__(self, images: CalibrationImages) -> None:
        self._tiles: Iterator[Any] = (
            images.tile(path) for path in track(images.paths, "measuring the ranges of activations")
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next image as the graph's input; None after the last."""
        tile = next(self._tiles, None)
        return None if tile is None else {IMAGE: tile}
