"""The clips that frames come from: two flights at 1280x720, one of them enlarged to 4K, or a made-up one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.sources import open_source

VIDEOS = ("truck4", "boat1")
LARGE = (3840, 2160)
LARGE_FRAMES = 60
MADE_UP_FRAMES = 90

U8 = npt.NDArray[np.uint8]


def recorded_clips(data: Path | None, work: Path) -> dict[str, Path]:
    """VIDEOS of a data root, and the first of them at 4K; empty where there are none."""
    if data is None:
        return {}
    found = {name: data / "video" / f"{name}.mp4" for name in VIDEOS}
    found = {name: path for name, path in found.items() if path.is_file()}
    if found:
        name, path = next(iter(found.items()))
        found[f"{name} at 4K"] = enlarged(path, work / "large.mp4", LARGE, LARGE_FRAMES)
    return found


def size_of(clip: Path) -> str:
    """Such as "1280x720"."""
    with open_source(clip) as source:
        frame = next(iter(source))
    return f"{frame.width}x{frame.height}"


def enlarged(clip: Path, to: Path, size: tuple[int, int], frames: int) -> Path:
    """Write the first frames of a clip at another size."""

    def pictures() -> Iterator[U8]:
        with open_source(clip) as source:
            for frame, _ in zip(source, range(frames), strict=False):
                yield np.asarray(cv2.resize(frame.image.rgb(), size, interpolation=cv2.INTER_CUBIC), np.uint8)

    return write_clip(to, size, pictures())


def made_up_clip(to: Path, size: tuple[int, int] = (1280, 720), frames: int = MADE_UP_FRAMES) -> Path:
    """Write a clip of a camera that flies over random ground with bright squares on it."""
    width, height = size
    random = np.random.default_rng(0)
    coarse = random.integers(60, 160, (height // 16 + 4, width // 16 + frames // 8 + 4, 3), np.uint8)
    ground = cv2.resize(coarse, None, fx=16, fy=16, interpolation=cv2.INTER_CUBIC)
    for x, y in zip(random.integers(0, width, 40), random.integers(0, height - 12, 40), strict=True):
        ground[y : y + 12, x : x + 12] = random.integers(180, 256, 3)

    def pictures() -> Iterator[U8]:
        for number in range(frames):
            yield np.ascontiguousarray(ground[:height, 2 * number : 2 * number + width])

    return write_clip(to, size, pictures())


def write_clip(to: Path, size: tuple[int, int], pictures: Iterator[U8], fps: int = 10) -> Path:
    """Encode (H, W, 3) uint8 RGB pictures of one size as an MP4 file; H.264 where FFmpeg can write it."""
    import av

    codec = "libx264" if "libx264" in av.codec.codecs_available else "mpeg4"
    with av.open(str(to), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "crf": "23"}
        else:
            stream.bit_rate = 20_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return to
