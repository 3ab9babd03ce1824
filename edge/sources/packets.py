"""Packets of one picture each, where FFmpeg's parser cuts pictures in two."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

_KEYS_TO_BE_SURE = 2


class PictureJoiner:
    """Joins packets with one and the same time stamp.

    GStreamer's rtph264pay with `config-interval=-1`, which many cameras run, repeats the parameter sets
    before each slice of a key frame, and FFmpeg takes them for the beginning of another picture. To join
    packets each has to wait for the next one; that ends once some key frames came in one piece.
    """

    def __init__(self) -> None:
        self._held: av.Packet[VideoStream] | None = None
        self._whole_keys = 0

    def take(self, packet: av.Packet[VideoStream]) -> list[av.Packet[VideoStream]]:
        """The packets that are known to be whole, now that this one came."""
        held, self._held = self._held, None
        if self._whole_keys >= _KEYS_TO_BE_SURE:
            return [packet] if held is None else [held, packet]
        if held is None:
            self._held = packet
            return []
        if packet.pts is not None and packet.pts == held.pts:
            self._held = _joined(held, packet)
            self._whole_keys = -(10**9)  # a camera that does it once does it always
            return []
        self._whole_keys += held.is_keyframe
        self._held = packet
        return [held]


def _joined(one: av.Packet[VideoStream], other: av.Packet[VideoStream]) -> av.Packet[VideoStream]:
    import av

    both = cast("av.Packet[VideoStream]", av.Packet(bytes(one) + bytes(other)))
    both.pts, both.dts, both.time_base = one.pts, one.dts, one.time_base
    both.is_keyframe = one.is_keyframe
    return both
