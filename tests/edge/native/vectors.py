"""The test vectors that every letterbox is held to: pictures from seeds, tiles by `letterbox_reference`.

`VECTORS` is the table. The C++ kernel, OpenCV, the CUDA arithmetic and the driver that is cross-compiled
or runs under the sanitizers (`write`, driver.cpp) all take their pictures from here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge.frames import I420Image, Image, NV12Image, RgbImage, Standard
from edge.letterbox import Letterbox, letterbox_reference

Layout: TypeAlias = Literal["i420", "nv12", "rgb"]
Pixels: TypeAlias = npt.NDArray[np.uint8]

LAYOUTS: tuple[Layout, ...] = ("i420", "nv12", "rgb")
MAGIC = b"RCLV"

# Frame width and height, tile width and height: shrinking by every whole number that has a kernel of its own
# and by broken ones, growing, same size, odd and one-pixel sides, padding on either axis or none.
SHAPES = (
    (1920, 1080, 640, 384),
    (1280, 720, 640, 384),
    (1001, 563, 320, 320),
    (320, 180, 640, 384),
    (63, 47, 96, 96),
    (64, 64, 64, 64),
    (640, 384, 640, 384),
    (65, 64, 64, 64),
    (67, 35, 67, 40),
    (99, 45, 33, 32),
    (201, 99, 67, 33),
    (192, 96, 64, 40),
    (268, 132, 67, 40),
    (402, 198, 67, 40),
    (536, 264, 67, 33),
    (804, 396, 67, 33),
    (1072, 528, 67, 33),
    (150, 100, 30, 20),
    (1, 1, 32, 32),
    (1, 300, 32, 64),
    (300, 1, 64, 32),
    (2, 2, 1, 1),
    (3, 3, 1, 1),
    (2, 2, 3, 3),
    (3, 500, 32, 32),
    (700, 3, 64, 32),
)


@dataclass(frozen=True, slots=True)
class Vector:
    """One picture and the tile it becomes.

    `stride` is bytes between the rows beyond their samples. `crop` is x, y, width, height of the part that is
    shown, or None for all of it. `width`, `height` are those of the whole picture.
    """

    layout: Layout
    width: int
    height: int
    tile: tuple[int, int]
    standard: Standard = "bt709"
    full_range: bool = False
    stride: int = 0
    upside_down: bool = False
    crop: tuple[int, int, int, int] | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """What the tests call it."""
        part = "" if self.crop is None else "-crop" + "x".join(map(str, self.crop))
        turned = "-upside_down" if self.upside_down else ""
        size = f"{self.width}x{self.height}{part}-{self.tile[0]}x{self.tile[1]}"
        return f"{self.layout}-{size}-{self.standard}{'-full' * self.full_range}-{self.stride}{turned}"

    def image(self) -> Image:
        """The picture: noise, of which no two rows are alike."""
        random = np.random.default_rng(self.seed)
        half = (self.height + 1) // 2, (self.width + 1) // 2
        image: Image
        if self.layout == "rgb":
            image = RgbImage(self._plane(random, self.height, self.width, 3))
        else:
            y = self._plane(random, self.height, self.width)
            if self.layout == "nv12":
                image = NV12Image(y, self._plane(random, *half, 2), self.standard, self.full_range)
            else:
                u, v = self._plane(random, *half), self._plane(random, *half)
                image = I420Image(y, u, v, self.standard, self.full_range)
        return image if self.crop is None else image.crop(*self.crop)

    def _plane(self, random: np.random.Generator, height: int, width: int, *channels: int) -> Pixels:
        samples = random.integers(0, 256, (height, width, *channels), dtype=np.uint8)
        used = samples.reshape(height, -1)
        wide = np.full((height, used.shape[1] + self.stride), 255, np.uint8)
        wide[:, : used.shape[1]] = used
        plane = wide[:, : used.shape[1]].reshape(samples.shape)
        return plane[::-1] if self.upside_down else plane

    def expected(self) -> tuple[Pixels, Letterbox]:
        """The tile (H, W, 3) by the reference, and where the picture lies in it. Do not write to it."""
        return _expected(self)


@lru_cache(maxsize=256)
def _expected(vector: Vector) -> tuple[Pixels, Letterbox]:
    tile, place = letterbox_reference(vector.image(), *vector.tile)
    tile.setflags(write=False)
    return tile, place


def _table() -> tuple[Vector, ...]:
    colours = cycle((("bt709", False), ("bt601", True), ("bt601", False), ("bt709", True)))
    strides = cycle((0, 7, 32))
    vectors = []
    for layout in LAYOUTS:
        for seed, (width, height, *tile) in enumerate(SHAPES):
            (standard, full_range), stride = next(colours), next(strides)
            vectors.append(
                Vector(
                    layout,
                    width,
                    height,
                    (tile[0], tile[1]),
                    standard,
                    full_range,
                    stride,
                    seed % 5 == 4,
                    seed=seed,
                )
            )
        for crop in ((0, 0, 128, 96), (2, 4, 101, 51), (60, 30, 140, 90), (198, 118, 3, 3)):
            vectors.append(Vector(layout, 201, 121, (64, 48), crop=crop, stride=5, seed=sum(crop)))
    return tuple(vectors)


VECTORS = _table()


def write(path: Path, vectors: tuple[Vector, ...] = VECTORS) -> None:
    """The vectors as driver.cpp reads them: little-endian, a header of int32 and the samples of each.

    The header of a vector is layout, bt709, full range, upside down, frame width and height, tile width and
    height, content x, y, width and height. For each plane follow row bytes and bytes from row to row (both
    int32, the latter without sign) and the rows from top to bottom; then the tile.
    """
    with path.open("wb") as file:
        file.write(struct.pack("<4si", MAGIC, len(vectors)))
        for vector in vectors:
            image, (tile, place) = vector.image(), vector.expected()
            yuv = not isinstance(image, RgbImage)
            colours = (image.standard == "bt709", image.full_range) if yuv else (False, False)
            content = (place.pad_x, place.pad_y, place.content_width, place.content_height)
            head = (LAYOUTS.index(vector.layout), *colours, vector.upside_down, image.width, image.height)
            file.write(struct.pack("<12i", *head, *vector.tile, *content))
            for plane in planes_of(image):
                rows = plane.reshape(plane.shape[0], -1)
                file.write(struct.pack("<2i", rows.shape[1], abs(plane.strides[0])))
                file.write(rows.tobytes())
            file.write(tile.tobytes())


def planes_of(image: Image) -> tuple[Pixels, ...]:
    """The arrays that a picture consists of."""
    if isinstance(image, RgbImage):
        return (image.pixels,)
    return (image.y, image.uv) if isinstance(image, NV12Image) else (image.y, image.u, image.v)


def largest_difference(a: Pixels, b: Pixels) -> int:
    """Grey levels between the two tiles where they differ most."""
    return int(np.abs(a.astype(np.int16) - b).max())
