"""Options that several subcommands share, and how their texts are read."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firmware_cfg.errors import BrokerError, UsageError

if TYPE_CHECKING:
    from edge.mqtt.settings import BrokerSettings
    from edge.tiling import Tiles

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"
_TILES = frozenset("12345678")


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
TilesOption = Annotated[
    str,
    typer.Option(
        "--tiles",
        metavar="CxR",
        help="Windows of a large frame to look at as well, for small things: none, auto, or as 2x2.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]
BrokerOption = Annotated[
    str, typer.Option("--broker", metavar="URL", help="mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS.")
]
UsernameOption = Annotated[str | None, typer.Option("--username", help="User name at the broker.")]
PasswordEnvOption = Annotated[
    str | None,
    typer.Option("--password-env", metavar="NAME", help="Environment variable with the password."),
]
PasswordFileOption = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="File with the password.")
]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="Authority that signed the broker; default: the system's."),
]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`640x384` as (640, 384), None as None. Raises UsageError."""
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise UsageError(f"--image-size must be WIDTHxHEIGHT such as 640x384, got {text!r}")
    return int(width), int(height)


def parse_tiles(text: str) -> Tiles:
    """`none`, `auto`, or `3x2` as (3, 2): columns and rows, 1 to 8 each. Raises UsageError."""
    if text == "none":
        return "none"
    if text == "auto":
        return "auto"
    columns, cross, rows = text.lower().partition("x")
    if not (cross and columns in _TILES and rows in _TILES):
        raise UsageError(f"--tiles must be none, auto or COLUMNSxROWS such as 2x2, up to 8x8, got {text!r}")
    return int(columns), int(rows)


def broker_settings(
    url: str,
    username: str | None,
    password_env: str | None,
    password_file: Path | None,
    ca: Path | None,
) -> BrokerSettings:
    """What the options of these names say. Raises UsageError for what can never work."""
    from edge.mqtt.settings import BrokerSettings

    if username is None and (password_env or password_file):
        raise UsageError("a password needs --username beside it")
    if password_env and password_file:
        raise UsageError("--password-env and --password-file: keep one of them")
    # Never the value: whoever takes these for the password itself writes it there.
    if password_env and not os.environ.get(password_env):
        raise UsageError("--password-env must name an environment variable that is set (export it)")
    if password_file and not password_file.exists():
        raise UsageError("--password-file must name a file that exists, with the password in its first line")
    if ca and not ca.exists():
        raise UsageError(f"--ca {ca}: there is no such file (name the broker's authority, a PEM file)")
    try:
        found = BrokerSettings.from_url(url)
    except BrokerError as error:
        raise UsageError(f"--broker: {error}") from error
    return replace(found, username=username, password_env=password_env, password_file=password_file, ca=ca)
