"""The order of a cube's values in its file, and whether the one that a header states gives a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_cfg.errors import SourceError

INTERLEAVES = ("bil", "bip", "bsq")

_LIKE = 0.8
_UNLIKE = 0.5
"""Neighbours in a scene are alike, their correlation above 0.8; read in a wrong order they often are not."""
_STRIP_PIXELS = 1 << 16
_PROBED_BANDS = 3


def arranged(flat: NDArray[Any], shape: tuple[int, int, int], interleave: str) -> NDArray[Any]:
    """(H, W, B) view of the values in the order of the file."""
    rows, columns, bands = shape
    cube: NDArray[Any]
    if interleave == "bil":
        cube = flat.reshape(rows, bands, columns).transpose(0, 2, 1)
    elif interleave == "bsq":
        cube = flat.reshape(bands, rows, columns).transpose(1, 2, 0)
    else:
        cube = flat.reshape(rows, columns, bands)
    return cube


def require_picture(flat: NDArray[Any], shape: tuple[int, int, int], interleave: str, header: Path) -> None:
    """Refuses an order in which the values are no picture while in another one they are.

    Finds pixels that are read as bands, and swapped bytes; bands read as lines may look smooth all the same.
    Compares each pixel with its neighbours to the right and below, in a strip of three bands. Raises
    SourceError. Data that is no picture in any order, such as noise, is let pass.
    """
    if likeness(arranged(flat, shape, interleave)) >= _UNLIKE:
        return
    for other in INTERLEAVES:
        if other != interleave and likeness(arranged(flat, shape, other)) > _LIKE:
            raise SourceError(
                f"{header}: interleave is {interleave}, but only as {other} is the data a picture"
                f" (write interleave = {other})"
            )
    swapped = flat.view(flat.dtype.newbyteorder())
    if flat.dtype.itemsize > 1 and likeness(arranged(swapped, shape, interleave)) > _LIKE:
        raise SourceError(
            f"{header}: only with its bytes the other way round is the data a picture (write byte order ="
            f" {int(flat.dtype.newbyteorder('<') == flat.dtype)})"
        )


def likeness(cube: NDArray[Any]) -> float:
    """Correlation of neighbouring pixels, the lower one of across and down; the median of three bands.

    0 where a band is constant or has no numbers.
    """
    rows, columns, bands = cube.shape
    strip = cube[: max(2, min(rows, _STRIP_PIXELS // columns))]
    probed = sorted({int(bands * (part + 1) / (_PROBED_BANDS + 1)) for part in range(_PROBED_BANDS)})
    found = []
    for band in probed:
        image = strip[:, :, band].astype(np.float64)
        across = _correlation(image[:, 1:], image[:, :-1])
        down = _correlation(image[1:], image[:-1])
        found.append(min(across, down))
    return float(np.median(found))


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    good = np.isfinite(one) & np.isfinite(other)
    one, other = one[good], other[good]
    if one.size < 2:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    with np.errstate(over="ignore", invalid="ignore"):
        scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
        return float((one * other).sum() / scale) if scale > 0 and np.isfinite(scale) else 0.0
