"""GStreamer Data Protocol 1.0: buffers with time stamps and formats through a pipe, as by gdppay.

A record is a header of 62 bytes and its payload. Layout: gst-plugins-bad, gst/gdp/dataprotocol.c.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.frames import I420Image, Image, NV12Image, Pixels, RgbImage, Standard

# version (2), flags, type, length, pts, duration, offset, offset end, buffer flags, CRCs (2, not used here)
_HEADER: Final = struct.Struct(">BBBxHIQQQQH14xHH")
HEADER_BYTES: Final = _HEADER.size
NO_TIME: Final = 2**64 - 1
_BUFFER, _CAPS, _EVENT = 1, 2, 64
_CORRUPTED = 1 << 8  # GST_BUFFER_FLAG_CORRUPTED
_LARGEST = 64 << 20
"""An 8K picture has 50 MB; whatever claims more is no record."""
_FIELD = re.compile(r'([\w-]+)=(?:\(\w+\))?("[^"]*"|[^,;]+)')
#: GStreamer's names and numbers of colour matrices.
_BT601, _BT709 = {"bt601", "2", "4"}, {"bt709", "bt2020", "smpte240m", "3", "5", "6"}


@dataclass(frozen=True, slots=True)
class Record:
    """The header of one record: what `length` bytes of payload are, and of what time in nanoseconds."""

    type: int
    length: int
    pts_ns: int | None
    damaged: bool

    @property
    def is_caps(self) -> bool:
        """The payload is a format."""
        return self.type == _CAPS

    @property
    def is_buffer(self) -> bool:
        """The payload is data of that format."""
        return self.type == _BUFFER


def read_header(data: bytes) -> Record:
    """The header in these HEADER_BYTES bytes. Raises ValueError for what cannot be one."""
    major, _, _, kind, length, pts, _, _, _, flags, _, _ = _HEADER.unpack(data)
    if major != 1 or kind == 0 or length > _LARGEST:
        raise ValueError("not a record of GStreamer's data protocol 1.0")
    return Record(kind, length, None if pts == NO_TIME else pts, bool(flags & _CORRUPTED))


def caps_record(caps: str) -> bytes:
    """The record that names the format of the buffers after it."""
    return _record(_CAPS, caps.encode("ascii") + b"\0")


def buffer_record(data: bytes, pts_ns: int | None) -> bytes:
    """The record of one buffer."""
    return _record(_BUFFER, data, NO_TIME if pts_ns is None else pts_ns)


def start_records(stream: str) -> bytes:
    """What has to come before the first format and the first buffer, which is to keep its time."""
    start = f"GstEventStreamStart, stream-id=(string){stream}, flags=(GstStreamFlags)GST_STREAM_FLAG_NONE;"
    return _record(_EVENT + _STREAM_START, start.encode("ascii") + b"\0")


def segment_record() -> bytes:
    """Says that time stamps count nanoseconds from 0 on."""
    segment = (
        'GstEventSegment, segment=(GstSegment)"segment, flags=(GstSegmentFlags)GST_SEGMENT_FLAG_NONE,'
        " rate=(double)1, applied-rate=(double)1, format=(GstFormat)time, base=(guint64)0, offset=(guint64)0,"
        f" start=(guint64)0, stop=(guint64){NO_TIME}, time=(guint64)0, position=(guint64)0,"
        f' duration=(guint64){NO_TIME};";'
    )
    return _record(_EVENT + _SEGMENT, segment.encode("ascii") + b"\0")


_STREAM_START, _SEGMENT = (40 << 8) | 14, (70 << 8) | 14


def _record(kind: int, payload: bytes, pts: int = NO_TIME) -> bytes:
    none = NO_TIME
    return _HEADER.pack(1, 0, 0, kind, len(payload), pts, none, none, none, 0, 0, 0) + payload


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How the pictures of a raw video stream lie in memory."""

    layout: str
    width: int
    height: int
    fps: float | None
    standard: Standard
    full_range: bool

    @classmethod
    def parse(cls, caps: str) -> RawFormat:
        """Reads `video/x-raw, format=(string)I420, width=(int)640, ...`. Raises ValueError."""
        fields = {key: value.strip().strip('"') for key, value in _FIELD.findall(caps)}
        layout = fields.get("format", "")
        if not caps.startswith("video/x-raw") or layout not in ("I420", "NV12", "RGB"):
            raise ValueError(f"not raw video as I420, NV12 or RGB: {caps[:80]}")
        width, height = int(fields["width"]), int(fields["height"])
        if not (0 < width <= 16384 and 0 < height <= 16384):
            raise ValueError(f"a picture of {width} x {height}")
        top, _, bottom = fields.get("framerate", "0/1").partition("/")
        rate = int(top) / int(bottom or 1)
        # "bt709", or numbers range:matrix:transfer:primaries where 1 is the full range.
        colours = fields.get("colorimetry", "").split(":")
        matrix = colours[1] if len(colours) == 4 else colours[0]
        by_size: Standard = "bt709" if height >= 720 else "bt601"
        standard: Standard = "bt601" if matrix in _BT601 else "bt709" if matrix in _BT709 else by_size
        return cls(layout, width, height, rate or None, standard, len(colours) == 4 and colours[0] == "1")

    def image(self, data: Pixels) -> Image:
        """The picture in these bytes, (n,) uint8, as views of them. Raises ValueError."""
        width, height = self.width, self.height
        half_w, half_h = (width + 1) // 2, (height + 1) // 2
        row = _padded(3 * width if self.layout == "RGB" else width)
        chroma_row = _padded(half_w)
        luma = row * (height if self.layout == "RGB" else 2 * half_h)
        needed = luma + {"I420": 2 * chroma_row, "NV12": row, "RGB": 0}[self.layout] * half_h
        if len(data) != needed:
            raise ValueError(f"a picture of {len(data)} bytes, not {needed}")
        if self.layout == "RGB":
            return RgbImage(data.reshape(height, row)[:, : 3 * width].reshape(height, width, 3))
        y = data[:luma].reshape(2 * half_h, row)[:height, :width]
        if self.layout == "NV12":
            uv = data[luma:].reshape(half_h, row)[:, : 2 * half_w].reshape(half_h, half_w, 2)
            return NV12Image(y, uv, self.standard, self.full_range)
        u, v = (each.reshape(half_h, chroma_row)[:, :half_w] for each in np.split(data[luma:], 2))
        return I420Image(y, u, v, self.standard, self.full_range)


def _padded(width: int) -> int:
    return (width + 3) // 4 * 4
