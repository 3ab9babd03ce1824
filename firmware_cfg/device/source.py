"""The `source` section of a device file."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from firmware_cfg.base import ConfigModel, is_of_this_tree, resolve_path
from firmware_cfg.problems import must

#: The demo's virtual flight, instead of a camera or file.
DEMO_SOURCE = "demo"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def _source_uri(value: str, info: ValidationInfo) -> str:
    if not value.strip() or not value.isprintable():
        raise must("name a source", "a video file, an image folder, or demo")
    if value == DEMO_SOURCE or _SCHEME.match(value):
        return value
    path = resolve_path(value, info)
    if is_of_this_tree(value) and path.is_absolute() and not path.exists():
        raise must("name a video file or folder that exists", f"looked for {path}")
    return str(path)


class Source(ConfigModel):
    """Where the frames come from."""

    uri: Annotated[str, AfterValidator(_source_uri)] = Field(
        description="A video file, an image or image folder, or `demo` for the virtual flight."
    )
    sequence: bool = Field(False, description="An image folder is one flight in order, not unrelated images.")
    realtime: bool = Field(False, description="Play a file at its own speed instead of as fast as possible.")
    drop: Literal["auto", "oldest", "never"] = Field(
        "auto",
        description="When the model is too slow: auto drops frames of live sources, never those of files.",
    )
