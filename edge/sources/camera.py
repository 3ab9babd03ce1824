"""How a camera is to be read, and what may be told of it in logs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from edge.frames import Image
from firmware_cfg.errors import SourceError

if TYPE_CHECKING:
    from firmware_cfg.device.source import Source

Transport = Literal["auto", "tcp", "udp"]
Decoder = Literal["software", "jetson"]

_ADDRESS = re.compile(r"((?!file:)[a-z][a-z0-9+.-]*(?::/*|//+))(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What a device file's `source` section says about a camera.

    patient    try again and again, also when the camera is not there at first; else the first trouble is
               raised as SourceError
    stall_s    seconds without a picture after which a connection counts as dead
    latency_s  a stream that lags further behind loses its oldest frames undecoded; None for never
    transport  of RTSP: auto asks for TCP, and takes UDP where the camera refuses that
    decoder    of RTSP: FFmpeg's, or the Jetson's through GStreamer
    """

    patient: bool = False
    stall_s: float = 3.0
    latency_s: float | None = 1.0
    transport: Transport = "auto"
    decoder: Decoder = "software"
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_config(cls, source: Source, *, patient: bool) -> CameraOptions:
        """The options that a device file asks for. Raises SourceError when the password cannot be read."""
        return cls(
            patient=patient,
            stall_s=source.stall,
            latency_s=None if source.drop == "never" else source.latency,
            transport=source.transport,
            decoder=source.decoder,
            username=source.username,
            password=source.password(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A picture from a camera; `captured_s` is when it was taken, by time.monotonic()."""

    image: Image
    captured_s: float


class CameraError(SourceError):
    """A camera cannot be reached, or was lost. `cause` is what the frames missed are counted under."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message, cause)
        self.cause = cause

    def __str__(self) -> str:
        return str(self.args[0])


def public_name(uri: str) -> str:
    """The URI without user, password and query, any of which may be secret: errors end up in bug reports.

    Whatever is before the last @ counts as a login, as a password may hold any sign. A path stays as it is.
    """
    match = _ADDRESS.fullmatch(uri)
    if match is None or not ("://" in uri or "@" in uri):
        return uri
    scheme, rest = match.groups()
    return scheme + re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]


def with_login(url: str, username: str | None, password: str | None) -> str:
    """`url` with this login in it, as FFmpeg wants it; as it is where there is no user name."""
    if username is None:
        return url
    parts = urlsplit(url)
    login = quote(username, safe="") + (":" + quote(password, safe="") if password is not None else "")
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))
