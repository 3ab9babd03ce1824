"""What a map is written as: GeoTIFF or PNG and npy, a picture with its legend, and areas."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.cubes import Cube
from edge.files import write_atomically
from training.errors import require_extra
from training.evaluation.plots import save_figure
from training.hyperspectral.zeroshot import U8, DenseLabels

NO_DATA = 255
"""Class number of pixels without data."""
MAP_PICTURE = "map.png"
AREAS_FILE = "areas.json"

Classes: TypeAlias = NDArray[np.uint8]

# Okabe and Ito's colours, which colour-blind people tell apart, then more for long lists.
_COLOURS = (
    (0, 158, 115),
    (0, 114, 178),
    (230, 159, 0),
    (120, 120, 120),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)


@dataclass(frozen=True, slots=True)
class Area:
    """How much of the scene a class covers; m2 is None where the pixels' size is not known."""

    name: str
    pixels: int
    share: float
    m2: float | None


def colour_of(number: int) -> tuple[int, int, int]:
    """RGB of a class, the same in every map; after eight classes darker shades follow."""
    shade = 0.6 ** (number // len(_COLOURS))
    red, green, blue = (round(part * shade) for part in _COLOURS[number % len(_COLOURS)])
    return red, green, blue


def class_map(labels: DenseLabels, cube: Cube) -> Classes:
    """(H, W) uint8 numbers of classes, from 0; NO_DATA where the cube has none."""
    numbers = labels.label.astype(np.uint8)
    if cube.valid is not None:
        numbers[~cube.valid] = NO_DATA
    return numbers


def areas(numbers: Classes, names: Sequence[str], cube: Cube) -> list[Area]:
    """The area of every class, shares of the pixels with data."""
    known = int((numbers != NO_DATA).sum())
    each_m2 = cube.georeference.pixel_area_m2 if cube.georeference else None
    found: list[Area] = []
    for number, name in enumerate(names):
        pixels = int((numbers == number).sum())
        found.append(Area(name, pixels, pixels / known, None if each_m2 is None else pixels * each_m2))
    return found


def write_maps(folder: Path, labels: DenseLabels, names: Sequence[str], cube: Cube, image: U8) -> list[Area]:
    """Write the class map, the confidence map, the picture and the areas; returns the areas.

    classes.tif and confidence.tif (float32, 0..1) where the cube is georeferenced, else .png and .npy of
    each; numbers of classes are those of areas.json, NO_DATA stands for pixels without data.
    """
    numbers = class_map(labels, cube)
    confidence = labels.confidence.copy()
    if cube.valid is not None:
        confidence[~cube.valid] = np.nan
    if cube.georeference is not None:
        _write_geotiff(folder / "classes.tif", numbers, names, cube)
        _write_geotiff(folder / "confidence.tif", confidence, ("confidence",), cube)
    else:
        _write_plain(folder / "classes", numbers, _painted(numbers, len(names)))
        _write_plain(folder / "confidence", confidence, np.uint8(np.nan_to_num(confidence) * 255 + 0.5))
    found = areas(numbers, names, cube)
    _write_picture(folder / MAP_PICTURE, image, numbers, confidence, found)
    document: dict[str, Any] = {
        "no_data": NO_DATA,
        "classes": [
            {"number": number, "name": a.name, "pixels": a.pixels, "share": a.share, "m2": a.m2}
            for number, a in enumerate(found)
        ],
    }
    write_atomically(folder / AREAS_FILE, (json.dumps(document, indent=1) + "\n").encode())
    return found


def _painted(numbers: Classes, classes: int) -> U8:
    palette = np.zeros((256, 3), np.uint8)
    palette[:classes] = [colour_of(number) for number in range(classes)]
    painted: U8 = palette[numbers]
    return painted


def _write_plain(stem: Path, values: NDArray[Any], picture: NDArray[np.uint8]) -> None:
    import cv2

    buffer = io.BytesIO()
    np.save(buffer, values)
    write_atomically(stem.with_suffix(".npy"), buffer.getvalue())
    _, encoded = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    write_atomically(stem.with_suffix(".png"), encoded.tobytes())


def _write_geotiff(path: Path, values: NDArray[Any], names: Sequence[str], cube: Cube) -> None:
    """One band with the scene's georeference; class maps carry their colours and, as tags, their names."""
    require_extra("train", "rasterio")
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    assert cube.georeference is not None
    whole = values.dtype == np.uint8
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=values.shape[0],
            width=values.shape[1],
            count=1,
            dtype=values.dtype,
            crs=cube.georeference.crs,
            transform=Affine(*cube.georeference.transform),
            nodata=NO_DATA if whole else np.nan,
            compress="deflate",
        ) as file:
            file.write(values, 1)
            if whole:
                file.write_colormap(1, {n: (*colour_of(n), 255) for n in range(len(names))})
                file.update_tags(1, **{f"class_{n}": name for n, name in enumerate(names)})
        write_atomically(path, memory.read())


def _write_picture(
    path: Path, image: U8, numbers: Classes, confidence: NDArray[Any], found: list[Area]
) -> None:
    """The scene, its map and how sure the map is, side by side, with classes and areas as the legend."""
    require_extra("train", "matplotlib")
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    height = 4.0 * min(2.0, max(0.5, image.shape[0] / image.shape[1]))
    figure = Figure((13.0, height + 1.0), layout="constrained")
    panels = figure.subplots(1, 3)
    panels[0].imshow(image)
    panels[1].imshow(_painted(numbers, len(found)), interpolation="nearest")
    shown = panels[2].imshow(confidence, vmin=0.0, vmax=1.0, cmap="viridis")
    for panel, title in zip(panels, ("scene", "land cover", "confidence"), strict=True):
        panel.set_title(title)
        panel.set_axis_off()
    figure.colorbar(shown, ax=panels[2], fraction=0.046)
    patches = [
        Patch(
            color=[part / 255 for part in colour_of(number)], label=f"{a.name}: {_amount(a)} ({a.share:.0%})"
        )
        for number, a in enumerate(found)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(4, len(patches)))
    save_figure(figure, path)


def _amount(area: Area) -> str:
    return f"{area.pixels:,} px" if area.m2 is None else f"{area.m2:,.0f} m\u00b2"
