"""Real video files, made by encoding, and real damage, made by writing into them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

MakeVideo = Callable[..., Path]
DamagePacket = Callable[[Path, int], None]


def _noise(number: int, width: int, height: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """make_video(name, frames=30, paint=number, width, height -> RGB, ...) -> path; 10 frames a second."""

    def make(
        name: str = "clip.mp4",
        *,
        frames: int = 30,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        width: int = 96,
        height: int = 64,
        paint: Callable[[int, int, int], np.ndarray] = _noise,
        options: dict[str, str] | None = None,
        file_options: dict[str, str] | None = None,
        metadata: dict[str, str] | None = None,
        stamp: Callable[[int], int] = lambda number: number,
        colour: tuple[int, int] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=file_options or {}) as container:
            container.metadata.update(metadata or {})
            stream: Any = container.add_stream(codec, rate=10, options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            if colour is not None:
                stream.codec_context.colorspace, stream.codec_context.color_range = colour
            for number in range(frames):
                picture = av.VideoFrame.from_ndarray(paint(number, width, height), format="rgb24")
                picture.pts = stamp(number)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture
def damage_packet() -> DamagePacket:
    """damage_packet(path, n): the n-th packet of the file becomes bytes that no decoder can read."""

    def damage(path: Path, index: int) -> None:
        with av.open(str(path)) as container:
            payload = bytes([p for p in container.demux(video=0) if p.size][index])
        data = bytearray(path.read_bytes())
        start = data.index(payload)
        data[start : start + len(payload)] = b"\xff" * len(payload)
        path.write_bytes(data)

    return damage


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="remoteclip-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def as_nobody() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """`with as_nobody():` permissions do not bind root, so what is tried inside is tried as nobody."""
    return _as_nobody
