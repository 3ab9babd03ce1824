"""Random access to the samples of built shards.

WebDataset's own loaders read a shard from its beginning; a run that resumes in mid-epoch, or shares an epoch
among processes, wants sample i. An uncompressed tar gives it: one pass over the headers finds every member.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.errors import DataError

SHARDS = "shards"  # folder of the shards below a built data set
STORED_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # image formats that a shard holds


@dataclass(frozen=True, slots=True)
class ShardSample:
    """One captioned image.

    key: unique within the data set; source: name of its set in the recipe; file: where it came from, below
    the data root; image: the stored file's bytes; captions: possibly none; boxes: (K, 4) float32 x1, y1, x2,
    y2 pixels of the stored image, of zero size for points; labels: (K,) int64 into names; names: the set's
    classes; ignored: (J, 4) float32 regions left open by the annotators; label: scene label or "".
    """

    key: str
    source: str
    file: str
    image: bytes
    captions: tuple[str, ...]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    ignored: NDArray[np.float32]
    width: int
    height: int
    label: str

    def pixels(self) -> NDArray[np.uint8]:
        """The decoded image, RGB (height, width, 3) uint8. Raises DataError where it cannot be decoded."""
        return decode(self.image, self.key)


def decode(image: bytes, key: str) -> NDArray[np.uint8]:
    """RGB (H, W, 3) uint8 of an encoded image. Raises DataError naming the sample."""
    found = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if found is None:
        raise DataError(f"{key}: its image cannot be decoded (build the data set again)")
    return cv2.cvtColor(found, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a sample lies: shard number, and offset and size of its image and of its json."""

    shard: int
    key: str
    image: tuple[int, int]
    annotation: tuple[int, int]


class ShardSamples(Sequence[ShardSample]):
    """The samples of one part (`train` or `val`) of a built data set, by number, in the order of the shards.

    Safe to share among threads and forked workers, and small to pickle: every access reads at its own
    offset. Raises DataError where the folder holds no such shards or a shard is damaged.
    """

    def __init__(self, folder: Path, part: str = "train") -> None:
        self._open: dict[int, int] = {}  # shard number -> file descriptor
        self.folder = folder
        self.part = part
        self._paths = shard_files(folder, part)
        self._places = [place for number, path in enumerate(self._paths) for place in _scan(number, path)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = self._places[index]
        document = self._document(place)
        return ShardSample(
            key=place.key,
            source=document["set"],
            file=document["file"],
            image=self._read(place, place.image),
            captions=tuple(document["captions"]),
            boxes=np.asarray(document["boxes"], np.float32).reshape(-1, 4),
            labels=np.asarray(document["labels"], np.int64),
            names=tuple(document["names"]),
            ignored=np.asarray(document["ignored"], np.float32).reshape(-1, 4),
            width=document["width"],
            height=document["height"],
            label=document["label"],
        )

    def captions(self, index: int) -> tuple[str, ...]:
        """The sentences of sample `index`, without reading its image."""
        return tuple(self._document(self._places[index])["captions"])

    def keys(self) -> tuple[str, ...]:
        """The key of every sample."""
        return tuple(place.key for place in self._places)

    def close(self) -> None:
        """Close the shard files; the next access opens them again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # file descriptors belong to their process

    def __del__(self) -> None:
        self.close()

    def _document(self, place: _Place) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._read(place, place.annotation))
        return document

    def _read(self, place: _Place, span: tuple[int, int]) -> bytes:
        descriptor = self._open.get(place.shard)
        if descriptor is None:
            opened = os.open(self._paths[place.shard], os.O_RDONLY)
            descriptor = self._open.setdefault(place.shard, opened)
            if descriptor != opened:  # another thread was faster
                os.close(opened)
        offset, size = span
        data = os.pread(descriptor, size, offset)  # no seek: a descriptor may be shared by fork
        if len(data) != size:
            raise DataError(f"{self._paths[place.shard]}: {place.key} is cut off (build the data set again)")
        return data


def shard_files(folder: Path, part: str) -> list[Path]:
    """The shards of a part by name. Raises DataError where there are none."""
    paths = sorted((folder / SHARDS).glob(f"{part}-*.tar"))
    if not paths:
        raise DataError(f"{folder / SHARDS}: no {part}-*.tar (run: remoteclip data build RECIPE -o {folder})")
    return paths


def _scan(number: int, path: Path) -> Iterator[_Place]:
    """The samples of a shard. WebDataset's rule: members that follow one another under one key."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                found.setdefault(key, {})[f".{suffix}"] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: not a readable shard ({error}; build the data set again)") from error
    for key, members in found.items():
        images = [members[suffix] for suffix in STORED_SUFFIXES if suffix in members]
        if len(images) != 1 or ".json" not in members:
            raise DataError(f"{path}: {key}: expected one image and one .json, found {sorted(members)}")
        yield _Place(number, key, images[0], members[".json"])
