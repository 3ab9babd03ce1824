"""Decoded PyAV frames -> images: the decoder's own planes wherever they are 8-bit 4:2:0 already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge.frames import I420Image, Image, NV12Image, Pixels, RgbImage, Standard

if TYPE_CHECKING:
    import av
    from av.video.plane import VideoPlane

_HD_ROWS = 720
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_BT709_LIKE = {1, 7, 9, 10}  # AVCOL_SPC_BT709, SMPTE240M, BT2020_NCL, BT2020_CL: nearest of the two we know
_BT601_LIKE = {4, 5, 6}  # AVCOL_SPC_FCC, BT470BG, SMPTE170M


def to_image(frame: av.VideoFrame) -> Image:
    """The frame's picture, rotated as its display matrix asks, so that up is up.

    yuv420p, yuvj420p and nv12 come out as views of the decoder's memory. Other YUV formats are resampled to
    8-bit 4:2:0 of the same range; grey, RGB and palette formats become RGB.
    """
    quarter_turns = _quarter_turns(frame)
    layout = frame.format.name
    if frame.format.is_rgb or frame.format.has_palette or len(frame.format.components) < 3:
        return RgbImage(_turned(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False), quarter_turns))
    full_range = layout.startswith("yuvj") or int(frame.color_range) == _FULL_RANGE
    standard = _standard(frame)  # read before reformat, which does not carry it over
    upright = all(plane.line_size > 0 for plane in frame.planes)
    if layout == "nv12" and upright:
        y, uv = (_view(plane, depth) for plane, depth in zip(frame.planes, (1, 2), strict=True))
        return NV12Image(_turned(y[..., 0], quarter_turns), _turned(uv, quarter_turns), standard, full_range)
    if layout not in ("yuv420p", "yuvj420p") or not upright:
        frame = frame.reformat(format="yuvj420p" if full_range else "yuv420p")
    planes = [_turned(_view(plane)[..., 0], quarter_turns) for plane in frame.planes[:3]]
    return I420Image(planes[0], planes[1], planes[2], standard, full_range)


def _view(plane: VideoPlane, depth: int = 1) -> Pixels:
    """(height, width, depth) view of a plane that holds `depth` samples at each place."""
    rows = np.frombuffer(memoryview(plane), dtype=np.uint8)[: plane.height * plane.line_size]
    used = rows.reshape(plane.height, plane.line_size)[:, : plane.width * depth]
    view: Pixels = used.reshape(plane.height, plane.width, depth)
    # The decoder predicts later frames from this memory: a stray write would smear through the video.
    view.flags.writeable = False
    return view


def _turned(pixels: Pixels, quarter_turns: int) -> Pixels:
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that bring the picture upright, to the nearest quarter."""
    return round(frame.rotation / 90) % 4


def _standard(frame: av.VideoFrame) -> Standard:
    space = int(frame.colorspace)
    if space in _BT709_LIKE:
        return "bt709"
    if space in _BT601_LIKE:
        return "bt601"
    # Unmarked: what players assume, HD is BT.709 and smaller pictures are BT.601.
    return "bt709" if max(frame.height, frame.width * 9 // 16) >= _HD_ROWS else "bt601"
