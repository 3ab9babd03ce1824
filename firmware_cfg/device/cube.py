"""The `source.cube` section of a device file: how the cube of an imaging spectrometer is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from firmware_cfg.base import ConfigModel, resolve_path
from firmware_cfg.problems import stated
from firmware_cfg.wavelengths import parse_wavelengths


def _wavelengths(value: str, info: ValidationInfo) -> str:
    try:
        wanted = parse_wavelengths(value)
    except ValueError as error:
        raise stated(str(error)) from None
    if not wanted.file:
        return value
    # The file lies beside the device file, as every other path in it.
    return value.replace(wanted.file, str(resolve_path(wanted.file, info)), 1)


class CubeSection(ConfigModel):
    """How a hyperspectral cube becomes frames."""

    wavelengths: Annotated[str, AfterValidator(_wavelengths)] | None = Field(
        None,
        description="Of the bands, where the file does not say: FIRST:LAST[/COUNT] in nm, or a file of"
        " numbers, then perhaps `without 1-3,108`.",
    )
    variable: str | None = Field(None, description="Of a MATLAB file: the variable that holds the cube.")
    window: int = Field(256, ge=16, le=4096, description="Side of the windows that become frames, in pixels.")
    overlap: float = Field(0.25, ge=0, le=0.9, description="Share of a window that the next one shows again.")
    fps: float = Field(1.0, gt=0, le=100, description="Windows a second of capture time.")
