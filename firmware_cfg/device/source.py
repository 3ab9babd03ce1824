"""The `source` section of a device file."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from firmware_cfg.base import ConfigModel, Duration, SecretFile, is_of_this_tree, resolve_path
from firmware_cfg.device.cube import CubeSection
from firmware_cfg.errors import SourceError
from firmware_cfg.problems import Finding, must, raise_findings, stated

#: The demo's virtual flight, instead of a camera or file.
DEMO_SOURCE = "demo"

CUBE_SUFFIXES = (".hdr", ".bil", ".bip", ".bsq", ".mat")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# However its slashes were mistyped, and whatever the password is made of.
_PASSWORD = re.compile(
    r"(?!(?:file|v4l2|gstreamer):)[a-z][a-z0-9+.-]*(?::/+[^:]*:|:[^/]|//[^:]*:).*@", re.IGNORECASE
)


def _source_uri(value: str, info: ValidationInfo) -> str:
    if not value.strip() or not value.isprintable():
        raise must("name a source", "a video file, an image folder, a camera's address, or demo")
    if _PASSWORD.match(value):
        # Not by `must`, which repeats the value.
        raise stated("uri must hold no password", "use username and password_file; %40 is an @ of the path")
    if value == DEMO_SOURCE or _SCHEME.match(value):
        return value
    path = resolve_path(value, info)
    if is_of_this_tree(value) and path.is_absolute() and not path.exists():
        raise must("name a video file or folder that exists", f"looked for {path}")
    return str(path)


class Source(ConfigModel):
    """Where the frames come from. A camera's password comes from a file of its own, never from this one."""

    habit_mends: ClassVar[dict[str, str]] = {
        "password": "passwords do not belong into this file: use password_file",
        "url": "it is `uri`",
        "path": "it is `uri`",
    }

    uri: Annotated[str, AfterValidator(_source_uri)] = Field(
        description="A video file, an image or image folder, a cube (ENVI or .mat), a camera (rtsp://HOST/PATH,"
        " v4l2:///dev/video0?size=1280x720&fps=30, gstreamer:PIPELINE), or `demo` for the virtual flight."
    )
    sequence: bool = Field(False, description="An image folder is one flight in order, not unrelated images.")
    realtime: bool = Field(False, description="Play a file at its own speed instead of as fast as possible.")
    drop: Literal["auto", "oldest", "never"] = Field(
        "auto",
        description="When the model is too slow: auto drops frames of live sources, never those of files.",
    )
    latency: Duration = Field(
        1.0,
        description="A camera that lags further behind loses its oldest frames, unless `drop: never`.",
    )
    stall: Duration = Field(3.0, description="A camera that sends nothing for so long is connected anew.")
    username: str | None = Field(None, description="User name at an RTSP camera.")
    password_file: SecretFile | None = Field(None, description="File whose first line is its password.")
    transport: Literal["auto", "tcp", "udp"] = Field(
        "auto", description="Of RTSP: auto asks for TCP, and takes UDP where the camera refuses that."
    )
    decoder: Literal["software", "jetson"] = Field(
        "software", description="Of RTSP: jetson decodes with nvv4l2decoder, through GStreamer."
    )

    cube: CubeSection | None = Field(None, description="Of a hyperspectral cube: how it becomes frames.")

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Source:
        found = []
        if not 0.1 <= self.latency <= 60:
            found.append(Finding(("latency",), stated("latency must be between 100ms and 1min")))
        if not 0.5 <= self.stall <= 60:
            found.append(Finding(("stall",), stated("stall must be between 500ms and 1min")))
        if self.password_file is not None and self.username is None:
            found.append(Finding(("password_file",), stated("a password needs a username beside it")))
        if not self.uri.lower().startswith(("rtsp://", "rtsps://")):
            given = {"username": self.username is not None, "decoder": self.decoder != "software"}
            given["transport"] = self.transport != "auto"
            for name in (name for name, is_given in given.items() if is_given):
                found.append(Finding((name,), stated(f"{name} needs a uri that begins with rtsp://")))
        if self.cube is not None and not self.uri.lower().endswith(CUBE_SUFFIXES):
            mend = f"a uri that ends in {' '.join(CUBE_SUFFIXES)}"
            found.append(Finding(("cube",), stated(f"cube needs {mend}")))
        raise_findings("Source", found)
        return self

    def password(self) -> str | None:
        """The first line of `password_file`; None without one. Raises SourceError if it cannot be read."""
        if self.password_file is None:
            return None
        try:
            lines = self.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SourceError(
                f"source.password_file {self.password_file}: {reason} (make it a readable text file)"
            ) from None
        if not lines or not lines[0]:
            raise SourceError(
                f"source.password_file {self.password_file}: its first line is empty"
                " (write the password there)"
            )
        return lines[0]
