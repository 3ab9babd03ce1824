"""The `engine` section of a device file."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from firmware_cfg.base import ConfigModel, ImageSize, between
from firmware_cfg.problems import Finding, must, raise_findings, stated

MOST_TILES = 8
"""Columns, and rows, of windows: 64 and the whole frame are seconds of a CPU for each frame."""


def _tiles(value: Any) -> Any:
    if value in ("none", "auto"):
        return value
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(pair) != 2 or not all(type(n) is int and 1 <= n <= MOST_TILES for n in pair):
        raise must(f"be none, auto or [columns, rows], each from 1 to {MOST_TILES}")
    return pair


Tiles = Annotated[Literal["none", "auto"] | tuple[int, int], BeforeValidator(_tiles)]


class Engine(ConfigModel):
    """What runs the model."""

    habit_mends: ClassVar[dict[str, str]] = {
        "device": "name the engine: openvino, onnxruntime or tensorrt",
        "workspace": "use workspace_mib: 1024, for example",
    }

    name: Literal["openvino", "onnxruntime", "tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt"] = Field(
        "openvino",
        description="Inference engine. tensorrt needs TensorRT and pycuda; onnxruntime-cuda and"
        " onnxruntime-tensorrt need onnxruntime-gpu.",
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto",
        description="auto: the fastest variant of the bundle that passed its accuracy gate on this engine.",
    )
    threads: Annotated[int, between(1, 256)] | None = Field(
        None,
        description="CPU threads of the engine; default: one a core.",
    )
    image_size: ImageSize | None = Field(
        None,
        description="Model input [width, height]; default: the prompt list's, else the bundle's best.",
    )
    tiles: Tiles = Field(
        "none",
        description="Windows of a large frame that are looked at beside the whole of it, for small things:"
        " none, [columns, rows], or auto: as many as it takes, at most 12. Each costs as much time as a frame"
        " without any.",
    )
    tiles_where: Literal["everywhere", "interest"] = Field(
        "everywhere",
        description="Which windows: everywhere, or interest: only where something moved, is followed or was"
        " found, and one resting window in turn; each is seen again within as many frames as there are.",
    )
    workspace_mib: Annotated[int, between(16, 1 << 20)] | None = Field(
        None,
        description="Most GPU memory, in MiB, that TensorRT may use for scratch; default: all there is.",
    )

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Engine:
        if self.tiles_where != "everywhere" and self.tiles in ("none", (1, 1)):
            error = stated("there are no windows to choose among", "tiles: auto, or leave it out")
            raise_findings("Engine", [Finding(("tiles_where",), error)])
        if self.workspace_mib is not None and self.name != "tensorrt":
            error = stated("only the engine tensorrt has a workspace", "name: tensorrt, or leave it out")
            raise_findings("Engine", [Finding(("workspace_mib",), error)])
        return self
