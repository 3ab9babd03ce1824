"""Options that several subcommands share, and how their texts are read."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from firmware_cfg.errors import UsageError


class EngineName(str, Enum):
    """What `--engine` takes."""

    openvino = "openvino"
    onnxruntime = "onnxruntime"
    tensorrt = "tensorrt"
    onnxruntime_cuda = "onnxruntime-cuda"
    onnxruntime_tensorrt = "onnxruntime-tensorrt"


class Precision(str, Enum):
    """What `--precision` takes."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


PromptsOption = Annotated[
    Path, typer.Option("--prompts", metavar="FILE", help="Prompt list: what to look for.")
]
BundleOption = Annotated[str, typer.Option("--bundle", metavar="FOLDER", help="Model bundle, or `default`.")]
EngineOption = Annotated[EngineName, typer.Option("--engine", help="Inference engine.")]
PrecisionOption = Annotated[Precision, typer.Option("--precision", help="Variant of the model.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; default: the engine's choice.")
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        "--image-size", metavar="WxH", help="Model input; default: the bundle's best for the frame."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`640x384` as (640, 384), None as None. Raises UsageError."""
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise UsageError(f"--image-size must be WIDTHxHEIGHT such as 640x384, got {text!r}")
    return int(width), int(height)
