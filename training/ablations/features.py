"""Features of a frozen image trunk, computed once and kept in a memory map that a stopped run continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.engines.openvino_import import openvino
from edge.files import write_atomically
from training.augment import crop_scene
from training.models.lite import LiteImageTower
from training.pools import read_rgb
from training.progress import track

_BATCH = 32


class _Pooled(nn.Module):
    """What the scene head sees of an image: uint8 (N, S, S, 3) -> (N, 1280)."""

    def __init__(self, tower: LiteImageTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, image: Tensor) -> Tensor:
        trunk = self.tower.trunk
        return cast(Tensor, trunk.head(trunk(self.tower.normalise(image))[-1]).mean(dim=(2, 3)))


class PooledTrunk:
    """The trunk of an image tower with its pooling, compiled by OpenVINO: five times torch's speed on CPUs.

    Call: uint8 RGB images (N, S, S, 3), S a multiple of 32 -> float32 features (N, 1280), torch's values;
    with precision "bf16" twice as fast where the processor has it, and off by a hundredth.
    """

    def __init__(self, tower: LiteImageTower, size: int, precision: Literal["f32", "bf16"] = "f32") -> None:
        self.size, self.precision = size, precision
        module = _Pooled(tower).eval()
        example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        with torch.inference_mode():
            model = openvino.convert_model(
                module, example_input=example, input=[openvino.PartialShape([-1, size, size, 3])]
            )
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled = openvino.compile_model(model, "CPU", settings)
        digest = hashlib.sha256()
        for name, value in tower.trunk.state_dict().items():
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        self.weights = digest.hexdigest()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array(self._compiled(images)[0], np.float32)


def views_of(
    trunk: PooledTrunk, paths: Sequence[Path], views: int, seed: int, file: Path
) -> NDArray[np.float16]:
    """Features (views, len(paths), 1280) of the images, kept in `file` (.npy) and read from there again.

    View 0 is the whole image resized to the trunk's square; every further view is a random crop, turn, mirror
    and jitter of it, seeded by (seed, view, image's place). A stopped run goes on where it was. Raises
    DataError for an image that cannot be read.
    """

    def images(numbers: Iterable[int]) -> NDArray[np.uint8]:
        return np.stack([_view(number, paths, trunk.size, seed) for number in numbers])

    key = {
        "weights": trunk.weights,
        "precision": trunk.precision,
        "size": trunk.size,
        "seed": seed,
        "views": views,
    }
    names = hashlib.sha256("\n".join(str(path) for path in paths).encode()).hexdigest()
    flat = _resumable(file, {**key, "names": names}, views * len(paths), lambda rows: trunk(images(rows)))
    return flat.reshape(views, len(paths), -1)


def _view(number: int, paths: Sequence[Path], size: int, seed: int) -> NDArray[np.uint8]:
    view, index = divmod(number, len(paths))
    image = read_rgb(paths[index])
    if view == 0:
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return crop_scene(image, size, np.random.default_rng((seed, view, index)))


def _resumable(
    file: Path, key: dict[str, Any], rows: int, compute: Callable[[range], NDArray[np.float32]]
) -> NDArray[np.float16]:
    """Rows (rows, F) of `compute`, a batch at a time; a side file says how many of them are on the disk."""
    marker = file.with_suffix(".json")
    done = 0
    if file.is_file() and marker.is_file():
        stated = json.loads(marker.read_text("utf-8"))
        done = int(stated.pop("done"))
        if stated != key:
            done = 0
    if done == rows:
        return cast(NDArray[np.float16], np.load(file, mmap_mode="r"))
    file.parent.mkdir(parents=True, exist_ok=True)
    store: NDArray[np.float16] | None = None
    starts = range(done, rows, _BATCH)
    for start in track(starts, f"features: {file.stem}"):
        batch = range(start, min(start + _BATCH, rows))
        part = compute(batch)
        if store is None:
            mode = "r+" if done else "w+"
            store = cast(
                NDArray[np.float16],
                np.lib.format.open_memmap(file, mode, np.float16, (rows, part.shape[1]))
                if mode == "w+"
                else np.lib.format.open_memmap(file, mode),
            )
        store[batch.start : batch.stop] = part
        cast(Any, store).flush()
        write_atomically(marker, json.dumps({**key, "done": batch.stop}).encode())
    return cast(NDArray[np.float16], np.load(file, mmap_mode="r"))
