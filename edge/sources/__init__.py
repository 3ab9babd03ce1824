"""Frame sources: `open_source(uri)` finds the one that a URI, a file's suffix or a folder asks for."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge.sources.base import FrameSource, check_readable
from edge.sources.camera import CameraOptions, public_name
from edge.sources.cube import CubeOptions, CubeSource
from edge.sources.gstreamer import GStreamerSource
from edge.sources.images import ImageFiles
from edge.sources.live import LiveSource
from edge.sources.rtsp import RtspSource
from edge.sources.v4l2 import V4l2Source
from edge.sources.video import VideoFile
from firmware_cfg.errors import SourceError

__all__ = [
    "CameraOptions",
    "CubeOptions",
    "CubeSource",
    "FrameSource",
    "GStreamerSource",
    "ImageFiles",
    "LiveSource",
    "RtspSource",
    "V4l2Source",
    "VideoFile",
    "is_camera",
    "open_source",
]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+(?=://)|gstreamer(?=:)", re.IGNORECASE)


def open_source(
    uri: str | os.PathLike[str],
    *,
    sequence: bool = False,
    camera: CameraOptions | None = None,
    cube: CubeOptions | None = None,
) -> FrameSource:
    """Opens a video file, an image, a folder of images, a cube, or what a registered scheme names.

    `uri` is a path, a `file://` URL, a registered word such as `demo`, `scheme://...` or `gstreamer:...`.
    `sequence` says that the images of a folder follow one another, so that things may be tracked through
    them. `camera` says how a live source is to be read; whether it is there is found out by iterating.
    `cube` says how a hyperspectral cube is.
    Raises SourceError, one line, when it is missing, unreadable, empty, damaged or of no known kind;
    UsageError where `cube` does not fit the file; MissingExtra.
    """
    text = os.fspath(uri)
    match = _SCHEME.match(text)
    scheme = _scheme(text)
    if (by_scheme := FrameSource.by_scheme.get(scheme)) is not None:
        if issubclass(by_scheme, LiveSource):
            return by_scheme.from_options(text, camera or CameraOptions())
        return by_scheme.from_uri(text, sequence=sequence)
    if match is not None and scheme != "file":
        known = ", ".join(sorted({"file", *FrameSource.by_scheme}))
        raise SourceError(f"{public_name(text)}: no source for {scheme}:// (known: {known})")
    path = Path(unquote(urlsplit(text).path) if scheme == "file" else text).expanduser()
    if not text or "\0" in text or not os.path.lexists(path):
        raise SourceError(f"{public_name(text)!r}: no such file or folder (check the path of the source)")
    if path.is_dir():
        return ImageFiles.from_uri(str(path), sequence=sequence)
    check_readable(path)
    by_suffix = FrameSource.by_suffix.get(path.suffix.lower())
    if by_suffix is None:
        known = " ".join(sorted(FrameSource.by_suffix))
        raise SourceError(f"{path}: not a kind of file that frames can be read from (known: {known})")
    if issubclass(by_suffix, CubeSource):
        return by_suffix(path, cube or CubeOptions(), sequence=sequence)
    return by_suffix.from_uri(str(path), sequence=sequence)


def is_camera(uri: str) -> bool:
    """Whether `uri` names a live source."""
    by_scheme = FrameSource.by_scheme.get(_scheme(uri))
    return by_scheme is not None and issubclass(by_scheme, LiveSource)


def _scheme(uri: str) -> str:
    return match.group().lower() if (match := _SCHEME.match(uri)) else uri.lower()
