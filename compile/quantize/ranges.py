"""What calibration images tell of a body's activations: ranges by onnxruntime's calibrator, and means."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator

from compile.quantize.bias import mean_inputs
from compile.quantize.images import CalibrationImages
from compile.quantize.layers import IMAGE, Body
from edge.engines.base import F32
from training.progress import track


@dataclass(frozen=True, slots=True)
class Activations:
    """ranges: of every value that layers read or give; means: see mean_inputs."""

    ranges: TensorsData
    means: dict[str, F32]


def measure_activations(body: Body, images: CalibrationImages) -> Activations:
    """Ranges and means of a body's activations. Raises DataError naming an image that cannot be read."""
    return Activations(measure_ranges(body, images), mean_inputs(body, images))


def measure_ranges(body: Body, images: CalibrationImages) -> TensorsData:
    """The range of every value that the body's layers read or give: the mean over images of its largest.

    The largest of all images would be that of the oddest one, and coarser steps for the rest. Raises
    DataError naming an image that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="remoteclip-ranges-") as scratch:
        graph = Path(scratch) / "body.onnx"
        onnx.save(body.model, str(graph))
        calibrator = create_calibrator(
            graph,
            list(body.op_types),
            augmented_model_path=str(Path(scratch) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"symmetric": True, "moving_average": True},
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
