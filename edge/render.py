"""Boxes, labels and lines of text drawn on a frame, for people who look at what the drone saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge.tracking import TrackedPlace

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]

# Okabe and Ito's palette: told apart by colour-blind people too, and all of it stands out against vegetation.
PALETTE: tuple[Colour, ...] = (
    (240, 228, 66),
    (86, 180, 233),
    (230, 159, 0),
    (204, 121, 167),
    (213, 94, 0),
    (0, 158, 115),
    (0, 114, 178),
)
MOST_LABELS = 12
"""A frame with more places than this gets boxes only: labels would hide what they name."""

_WHITE: Colour = (255, 255, 255)
_TENTATIVE: Colour = (190, 190, 190)
_REFERENCE_HEIGHT = 720  # line widths and letters grow with the frame, from this height


def colours(prompt_ids: Sequence[str]) -> dict[str, Colour]:
    """One colour a prompt, the same in every frame; the palette repeats after its end."""
    return {prompt_id: PALETTE[index % len(PALETTE)] for index, prompt_id in enumerate(prompt_ids)}


def annotate(
    pixels: Pixels, tracks: Sequence[TrackedPlace], palette: Mapping[str, Colour], lines: Sequence[str] = ()
) -> Pixels:
    """A copy of the frame with a box for every place, labels while they are few, and `lines` at the top left.

    Args:
        pixels: (H, W, 3) uint8 RGB; left as it is.
        tracks: the frame's places; one whose track is not confirmed yet is drawn in grey.
        palette: colour by prompt id.
        lines: text, one line each; what is not printable ASCII shows as a question mark.
    """
    import cv2

    canvas = np.array(pixels, dtype=np.uint8, order="C")
    scale = max(0.5, canvas.shape[0] / _REFERENCE_HEIGHT)
    thickness = max(1, round(2 * scale))
    for tracked in tracks:
        colour = palette.get(tracked.place.prompt, _WHITE) if tracked.confirmed else _TENTATIVE
        left, top, right, bottom = (round(float(side)) for side in tracked.place.box)
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, thickness)
        if len(tracks) <= MOST_LABELS:
            label = f"{tracked.place.prompt} {tracked.place.score:.2f} #{tracked.track_id}"
            _write(canvas, label, (left, max(top - 4, round(14 * scale))), 0.45 * scale, colour)
    if lines:
        _banner(canvas, lines, scale)
    return canvas


def thumbnail(pixels: Pixels, width: int, height: int) -> Pixels:
    """The whole image, shrunk (never enlarged) and centred on black: (height, width, 3) uint8."""
    import cv2

    rows, columns = pixels.shape[:2]
    factor = min(width / columns, height / rows, 1.0)
    size = (max(1, round(columns * factor)), max(1, round(rows * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas


def encode_png(pixels: Pixels) -> bytes:
    """(H, W, 3) uint8 RGB as the bytes of a PNG file."""
    import cv2

    encoded, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"an image of shape {pixels.shape} cannot be encoded as PNG")
    return bytes(data)


def _banner(canvas: Pixels, lines: Sequence[str], scale: float) -> None:
    pitch = round(28 * scale)
    depth = min(canvas.shape[0], pitch * len(lines) + round(10 * scale))
    canvas[:depth] = canvas[:depth] // 3  # darkened, so that text reads on any ground
    for index, line in enumerate(lines, start=1):
        _write(canvas, line, (round(12 * scale), pitch * index), 0.7 * scale, _WHITE)


def _write(canvas: Pixels, text: str, corner: tuple[int, int], size: float, colour: Colour) -> None:
    import cv2

    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    # A shadow of the same weight: newer OpenCV makes bolder letters wider, so an outline would not fit.
    for offset, ink in ((1, (0, 0, 0)), (0, colour)):
        place = (corner[0] + offset, corner[1] + offset)
        cv2.putText(canvas, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)
