"""The drift gauge on the sets in ../shared/data, the clips, and pictures that are no flight at all.

    python benchmarks/drift.py ../shared/data

A row: where the gauge stands in the median window, and the share of windows that raise the alarm.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import edge.demo.source  # noqa: F401 - makes `demo` a source
from edge.bundle.load import load_bundle
from edge.drift import ALARM, WINDOW, DriftGauge
from edge.engines.base import F32, ImageEngine
from edge.frames import Image, RgbImage
from edge.letterbox import best_image_size, letterbox
from edge.runs.search.images import find_images
from edge.runtime import BundleRuntime
from edge.sources import open_source
from edge.sources.images import read_rgb

MOST = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    bundle = load_bundle("default")
    model = BundleRuntime(bundle)
    engines: dict[tuple[int, int], ImageEngine] = {}
    print(
        f"| pictures | frames | gauge, median | windows of {WINDOW} at {ALARM} or above |\n|---|---|---|---|"
    )
    for name, images in pictures(options.data):
        gauge = DriftGauge(bundle.calibration)
        values = []
        for image in images:
            gauge.take(embedding(image, model, engines))
            values.append(gauge.value or 0.0)
        full = np.array(values[min(WINDOW, len(values)) - 1 :])
        print(
            f"| {name} | {len(values)} | {np.median(full):.2f} | {np.mean(full >= ALARM):.2f} |", flush=True
        )


def embedding(image: Image, model: BundleRuntime, engines: dict[tuple[int, int], ImageEngine]) -> F32:
    """Of one picture, as the pipeline would have it."""
    size = best_image_size(image.width, image.height, model.facts.image_sizes)
    if size not in engines:
        engines[size] = model.image_engine(size)
    row = np.eye(1, model.facts.row_width, dtype=np.float32)
    tile, _ = letterbox(image, *size)
    return engines[size].infer(tile[None], row, np.full(1, -1000, np.float32)).embedding[0]


def pictures(data: Path) -> Iterator[tuple[str, Iterator[Image]]]:
    """Known ground first, then sets that no training saw, then what is no flight."""
    for name in (
        "aerial_cars",
        "hit_uav",
        "cats_vehicles",
        "urban_trees",
        "vhr10",
        "semantic_drone",
        "rsicd",
    ):
        yield f"{name} (trained on)", images_of(data / name)
    for name in ("resisc12", "ucm_captions", "eurosat", "auair", "uav_sar", "epfl_roads"):
        yield name, images_of(data / name)
    for source in ("demo", data / "video" / "boat1.mp4", data / "video" / "truck4.mp4"):
        yield Path(str(source)).stem, (frame.image for frame in every_fifth(str(source)))
    rng = np.random.default_rng(0)
    noise = (RgbImage(rng.integers(0, 256, (720, 1280, 3), np.uint8)) for _ in range(WINDOW))
    yield "noise", noise
    yield (
        "lens cap (grey)",
        (RgbImage(np.full((720, 1280, 3), 4 * level, np.uint8)) for level in range(WINDOW)),
    )
    truck = str(data / "video" / "truck4.mp4")
    yield "truck4 at 8% of its light", (dimmed(frame.image) for frame in every_fifth(truck))


def images_of(folder: Path) -> Iterator[Image]:
    paths = find_images(folder)
    chosen = np.random.default_rng(0).permutation(len(paths))[:MOST]
    return (RgbImage(read_rgb(paths[index])) for index in chosen)


def every_fifth(source: str) -> Iterator:
    return (frame for number, frame in enumerate(open_source(source)) if number % 5 == 0)


def dimmed(image: Image) -> Image:
    return RgbImage((image.rgb() * 0.08).astype(np.uint8))


if __name__ == "__main__":
    main()
