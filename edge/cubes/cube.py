"""A hyperspectral cube: what is measured at every pixel of a scene, wavelength by wavelength."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.cubes.georeference import Georeference

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """Values of every pixel and band.

    path          the file that it was read from
    values        (H, W, B) float32, finite; in the file's own unit (radiance, reflectance, counts)
    wavelengths   (B,) float64, centre of each band in nm, in the order of the bands: not always ascending
    georeference  where on Earth the pixels lie; None where the file does not say
    valid         (H, W) bool: False where there is no data (values are 0 there); None: data everywhere
    """

    path: Path
    values: F32
    wavelengths: F64
    georeference: Georeference | None = None
    valid: Bools | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CubeFile:
    """A cube's file with its description read, its values not yet.

    shape         rows, columns, bands
    wavelengths   (B,) nm, None where the file does not say
    bad_bands     bands, counted from 0, that the file itself calls unusable
    read          band numbers, from 0 -> (H, W, len) float32, NaN where there is no data; raises SourceError
    """

    path: Path
    shape: tuple[int, int, int]
    wavelengths: F64 | None
    georeference: Georeference | None
    bad_bands: frozenset[int]
    read: Callable[[Sequence[int]], F32]
